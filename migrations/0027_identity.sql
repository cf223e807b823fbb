-- Who an account is on its platform (S-007, S-021, S-031, S-032; design, section 5). Parts of records that would change nothing
-- are refused.

set local search_path = fermata, pg_temp;

-- What was told when the account was connected: {id, handle, display_name, ids}. Its platform never changes the id.
alter table platform_account
    add column fingerprint  jsonb check (fingerprint is null or coalesce(fingerprint ->> 'id', '') <> ''),
    add column connected_at timestamptz,
    add column connected_by text,
    add constraint platform_account_is_connected_by_somebody check ((fingerprint is null) = (connected_by is null));

-- The id that the platform gave when it was asked as whom it would act, and whether it is the account's; null where nobody
-- could say.
alter table action
    add column identity    text,
    add column identity_ok boolean;

-- The id that an action's account was connected with.
create function connected_as(client text, platform_ text, account text) returns text language sql stable as $$
    select p.fingerprint ->> 'id' from fermata.platform_account p
    where p.client_id = client and p.platform = platform_ and p.account_id = account
$$;

-- Connects an account, with its event and its audit row, unless it is connected so. Neither has its names (S-082). Once this has answered, no effect of it
-- begins that was let pass for another fingerprint: whoever writes `attempted` holds the lock shared until its commit.
create function connect_account(client text, platform_ text, account text, told_ jsonb, who text)
returns setof platform_account language plpgsql as $$
declare
    at     timestamptz;
    now_is fermata.platform_account;
    told   jsonb;
begin
    perform pg_advisory_xact_lock(fermata.switch_lock());
    at := clock_timestamp();
    insert into fermata.platform_account (client_id, platform, account_id) values (client, platform_, account)
        on conflict do nothing;
    select * into now_is from fermata.platform_account p
        where p.client_id = client and p.platform = platform_ and p.account_id = account for no key update;
    if now_is.fingerprint = told_ then
        return next now_is;
        return;
    end if;
    told := jsonb_build_object('client_id', client, 'platform', platform_, 'account_id', account, 'id', told_ -> 'id',
        'before', now_is.fingerprint -> 'id', 'actor', who);
    update fermata.platform_account p set fingerprint = told_, connected_at = at, connected_by = who
        where p.client_id = client and p.platform = platform_ and p.account_id = account returning * into now_is;
    perform fermata.append(at, array[client], array[null::uuid], array['account.connected'],
        array[case when told -> 'before' in ('null', told -> 'id') then 1 else 2 end::int2], array[told],
        jsonb_build_array(jsonb_build_object('client_id', client, 'actor', who, 'phase', 'account_connected',
            'body', told || jsonb_build_object('fingerprint_sha256', encode(sha256(convert_to(told_::text, 'UTF8')), 'hex')))));
    return next now_is;
end $$;

-- I4, S-021: what is known to be for somebody else is not attempted, whoever says so.
create function identity_is_right() returns trigger language plpgsql as $$
declare
    known text := fermata.connected_as(new.client_id, new.platform, new.account_id);
begin
    if known is not null and (new.identity_ok is false or new.identity <> known) then
        raise exception 'an action for % is not attempted as %', known, coalesce(new.identity, 'somebody else')
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger identity_is_right after update of state on action for each row
    when (new.state = 'attempted' and old.state <> 'attempted') execute function identity_is_right();

-- Moves an action to `identity_verified`. `identity` says which id was known when the platform was asked, and which it gave; an
-- account that was connected since then is asked about again.
create function verify_identity(x jsonb) returns void language plpgsql as $$
declare
    a     fermata.action;
    known text;
begin
    select * into a from fermata.action t where t.id = (x ->> 'action_id')::uuid;
    if a.id is null then
        raise exception 'there is no action % to attempt', x ->> 'action_id' using errcode = 'check_violation';
    end if;
    known := fermata.connected_as(a.client_id, a.platform, a.account_id);
    if x ? 'identity' and known is distinct from x -> 'identity' ->> 'known' then
        raise exception 'the account was connected meanwhile' using errcode = 'check_violation';
    end if;
    update fermata.action set state = 'identity_verified', identity = x -> 'identity' ->> 'seen',
        identity_ok = x -> 'identity' ->> 'seen' = known where id = a.id;
end $$;

-- Whether somebody may say that what an action was for is done again: it is the newest of its intent, and it is over, or nobody
-- can tell.
create function may_repeat(act uuid) returns boolean language sql stable as $$
    select exists (select 1 from fermata.action a join fermata.intent i on i.id = a.intent_id and i.current_action = a.id
        where a.id = act and a.state in ('confirmed_failed', 'unknown', 'postcheck_complete'))
$$;

-- As in 0025, but that an attempt says as whom it is made, that only an attempt leads to `attempted`, that what changes nothing is
-- refused, and that a call is not sent again for an account that may do nothing.
create or replace function apply_rare(at timestamptz, x jsonb) returns void language plpgsql as $$
declare
    touched int4;
begin
    case x ->> 'op'
    when 'plan' then
        insert into fermata.policy_snapshot (client_id, hash, document, created_at)
            select x ->> 'client_id', x ->> 'policy_hash', x -> 'policy', at where x ? 'policy' on conflict do nothing;
        insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type, platform,
            account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at)
        select (x ->> 'action_id')::uuid, i.id, (x ->> 'run_id')::uuid, i.client_id, x ->> 'step_key',
            1 + (select count(*) from fermata.action a where a.intent_id = i.id), 'queued', x -> 'spec' ->> 'action_type',
            x -> 'spec' ->> 'platform', x -> 'spec' ->> 'account_id', x -> 'spec' ->> 'lane', x ->> 'idempotency_key',
            x ->> 'payload_hash', x ->> 'policy_hash', x -> 'verdict', (x ->> 'epoch')::int4, at, at
        from fermata.intent i where i.client_id = x ->> 'client_id' and i.key = x ->> 'intent_key';
        update fermata.action set state = case when (x -> 'verdict' ->> 'allowed')::boolean then 'preflight_passed' else 'blocked' end,
            effect = case when (x -> 'verdict' ->> 'allowed')::boolean then effect else false end
            where id = (x ->> 'action_id')::uuid;
        update fermata.intent set current_action = (x ->> 'action_id')::uuid, repeat_allowed = false
            where client_id = x ->> 'client_id' and key = x ->> 'intent_key';
    when 'attempt' then
        perform fermata.verify_identity(x);
        update fermata.action set state = 'attempted', attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at,
            tokens = (select jsonb_agg(jsonb_build_object('key', t.x -> 'key', 'n', t.x -> 'n',
                             'starts', fermata.window_start(at, (t.x ->> 'window_s')::int8)))
                      from jsonb_array_elements(x -> 'tokens') t(x))
            where id = (x ->> 'action_id')::uuid;
        perform fermata.prove(at, x, 'request', jsonb_build_object('request_id', x -> 'attempt_id'));
        update fermata.action set level = 1 where id = (x ->> 'action_id')::uuid;
    when 'resend' then
        if exists (select 1 from fermata.platform_account p
                   join fermata.action a on a.client_id = p.client_id and a.platform = p.platform and a.account_id = p.account_id
                   where a.id = (x ->> 'action_id')::uuid and p.mode <> 'normal') then
            raise exception 'nothing is sent again for an account that is not in normal mode' using errcode = 'check_violation';
        end if;
        update fermata.action set resends = resends + 1, attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at
            where id = (x ->> 'action_id')::uuid and state = 'attempted';
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'only an attempted action is sent again' using errcode = 'check_violation';
        end if;
        perform fermata.prove(at, x, 'request', jsonb_build_object('request_id', x -> 'attempt_id'));
    when 'move' then
        if x ->> 'state' in ('identity_verified', 'attempted') then
            raise exception 'only an attempt leads to %', x ->> 'state' using errcode = 'check_violation';
        end if;
        update fermata.action set state = x ->> 'state', effect = coalesce((x ->> 'effect')::boolean, effect),
            receipt = coalesce(x -> 'receipt', receipt), error = coalesce(x -> 'error', error),
            looks = looks + coalesce((x ->> 'looks')::int4, 0),
            level = greatest(level, coalesce((x ->> 'level')::int2, 0)), updated_at = at
            where id = (x ->> 'action_id')::uuid;
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'there is no action % to move', x ->> 'action_id' using errcode = 'check_violation';
        end if;
    when 'prove' then
        perform fermata.prove(at, x, x ->> 'kind', x -> 'body');
    when 'answered' then
        update fermata.action set answer = x -> 'answer', looks = looks + 1, updated_at = at
            where id = (x ->> 'action_id')::uuid and state = 'attempted';
    when 'throttled' then
        perform fermata.throttle(at, x);
    when 'troubled' then
        perform fermata.trouble(at, x);
    when 'look' then
        update fermata.action set looks = looks + 1, updated_at = at where id = (x ->> 'action_id')::uuid;
    when 'allow_repeat' then
        update fermata.intent set repeat_allowed = true where current_action = (x ->> 'action_id')::uuid
            and fermata.may_repeat((x ->> 'action_id')::uuid);
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'action % cannot be repeated', x ->> 'action_id' using errcode = 'check_violation';
        end if;
    when 'consume' then
        update fermata.signal set consumed_by = x ->> 'key' where id = (x ->> 'signal_id')::uuid and consumed_by is null;
    when 'gate' then
        insert into fermata.gate (id, run_id, client_id, key, generation, kind, reason, shown, opened_at, expires_at)
        values ((x ->> 'gate_id')::uuid, (x ->> 'run_id')::uuid, x ->> 'client_id', x ->> 'key',
            (x ->> 'generation')::int4, x ->> 'kind', x ->> 'reason', x -> 'shown', at, (x ->> 'expires_at')::timestamptz)
        on conflict do nothing;
    when 'close_gate' then
        update fermata.gate set state = x ->> 'state', decided_at = at, actor = x ->> 'actor'
            where id = (x ->> 'gate_id')::uuid and state = 'open';
    when 'child' then
        perform fermata.accept_child(at, (x ->> 'run_id')::uuid, x ->> 'client_id', x -> 'child');
    when 'renew' then
        update fermata.live set generation = generation + 1 where id = (x ->> 'run_id')::uuid;
        insert into fermata.renewal (run_id, generation, input)
            select id, generation, x -> 'input' from fermata.live where id = (x ->> 'run_id')::uuid;
    when 'artifact' then
        insert into fermata.artifact (id, client_id, run_id, kind, content_type, checksum, bytes, created_at)
        values ((x ->> 'artifact_id')::uuid, x ->> 'client_id', (x ->> 'run_id')::uuid, x ->> 'kind',
            x ->> 'content_type', x ->> 'checksum', (x ->> 'bytes')::int8, at)
        on conflict do nothing;
    else
        raise exception 'no such part of a record: %', x ->> 'op' using errcode = 'check_violation';
    end case;
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
