-- The audit trail sealed (S-024; design section 4, "Audit chain"), and what proves an outcome (S-013, S-050 to S-053).

set local search_path = fermata, pg_temp;

-- What an audit event is called outside: positions count every client's rows.
alter table audit add column id uuid not null default gen_random_uuid();
create index audit_of_client on audit (client_id, position);
create index audit_of_account on audit (client_id, (body ->> 'platform_account_id'), position)
    where body ? 'platform_account_id';

-- The place of each row in the chain of its client. A link is SHA-256 over the link before it and the SHA-256 of the row.
create table audit_seal (
    position  int8  primary key,
    client_id text  not null,
    seq       int8  not null check (seq > 0),
    hash      bytea not null check (octet_length(hash) = 32),
    unique (client_id, seq)
);
create trigger audit_seal_is_append_only before update or delete on audit_seal
    for each row execute function refuse_change();
create trigger audit_seal_is_not_truncated before truncate on audit_seal
    for each statement execute function refuse_change();

-- Where each chain ends.
create table audit_head (
    client_id text        primary key,
    seq       int8        not null,
    hash      bytea       not null,
    sealed_at timestamptz not null
);

-- Ends of chains as they were signed: what leaves the database, so that a tail that is cut off here is missed elsewhere.
create table signed_head (
    client_id   text        not null,
    seq         int8        not null,
    document    text        not null,      -- as it was signed, to the byte
    exported_at timestamptz,               -- null: it has not left yet
    primary key (client_id, seq)
);
create index signed_head_due on signed_head (client_id, seq) where exported_at is null;

create function seal_lock() returns int8 language sql immutable as $$ select 4990451204 $$;

-- Seals the rows after `known`; false when somebody else has sealed meanwhile.
create function seal(
    at timestamptz, known int8, positions int8[], clients text[], seqs int8[], hashes bytea[], signed jsonb
) returns boolean language plpgsql as $$
begin
    perform pg_advisory_xact_lock(fermata.seal_lock());
    if (select coalesce(max(s.position), 0) from fermata.audit_seal s) <> known then
        return false;
    end if;
    insert into fermata.audit_seal (position, client_id, seq, hash)
        select * from unnest(positions, clients, seqs, hashes);
    insert into fermata.audit_head as h (client_id, seq, hash, sealed_at)
        select distinct on (s.client) s.client, s.seq, s.hash, at from unnest(clients, seqs, hashes) s(client, seq, hash)
            order by s.client, s.seq desc
        on conflict (client_id) do update set seq = excluded.seq, hash = excluded.hash, sealed_at = excluded.sealed_at;
    insert into fermata.signed_head (client_id, seq, document)
        select h.x ->> 'client_id', (h.x ->> 'seq')::int8, h.x ->> 'document' from jsonb_array_elements(signed) h(x);
    return true;
end $$;

-- Evidence that an action occurred or did not.
create table proof (
    id         uuid        primary key default gen_random_uuid(),
    client_id  text        not null,
    run_id     uuid        not null,
    action_id  uuid        not null references action (id),
    kind       text        not null check (kind in ('request', 'answer', 'look', 'surface', 'person')),
    body       jsonb       not null,
    created_at timestamptz not null
);
create index proof_of_action on proof (action_id, created_at, id);
create trigger proof_is_append_only before update or delete on proof
    for each row execute function refuse_change();
create trigger proof_is_not_truncated before truncate on proof
    for each statement execute function refuse_change();

-- A level is what its proofs carry (S-050 to S-053): 1 an attempt, 2 the platform's own state, 3 that, a stored permalink,
-- and the place where people see it.
create function level_is_proven() returns trigger language plpgsql as $$
declare
    kinds text[];
    links boolean;
begin
    select coalesce(array_agg(p.kind), '{}'), coalesce(bool_or(p.body ? 'permalink'), false) into kinds, links
        from fermata.proof p where p.action_id = new.id;
    if cardinality(kinds) = 0 or new.level >= 2 and not 'look' = any (kinds)
        or new.level = 3 and not ('surface' = any (kinds) and links) then
        raise exception 'level % of an action is not proven by %', new.level, kinds using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger level_is_proven after update of level on action
    for each row when (new.level > old.level) execute function level_is_proven();
create trigger level_begins_at_zero before insert on action
    for each row when (new.level <> 0) execute function level_is_proven();

-- What the platform answered, while nobody has seen it there yet: such an action is never taken for undone.
alter table action add column answer jsonb;

-- Keeps a proof of an action.
create function prove(at timestamptz, x jsonb, kind text, body jsonb) returns void language sql as $$
    insert into fermata.proof (client_id, run_id, action_id, kind, body, created_at)
    select a.client_id, a.run_id, a.id, prove.kind, prove.body, prove.at from fermata.action a
    where a.id = (x ->> 'action_id')::uuid
$$;

-- As in 0024, but that an attempt is itself the first proof, and that proofs and answers are kept.
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
        update fermata.action set state = 'identity_verified' where id = (x ->> 'action_id')::uuid;
        update fermata.action set state = 'attempted', attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at,
            tokens = (select jsonb_agg(jsonb_build_object('key', t.x -> 'key', 'n', t.x -> 'n',
                             'starts', fermata.window_start(at, (t.x ->> 'window_s')::int8)))
                      from jsonb_array_elements(x -> 'tokens') t(x))
            where id = (x ->> 'action_id')::uuid;
        perform fermata.prove(at, x, 'request', jsonb_build_object('request_id', x -> 'attempt_id'));
        update fermata.action set level = 1 where id = (x ->> 'action_id')::uuid;
    when 'resend' then
        update fermata.action set resends = resends + 1, attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at
            where id = (x ->> 'action_id')::uuid and state = 'attempted';
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'only an attempted action is sent again' using errcode = 'check_violation';
        end if;
        perform fermata.prove(at, x, 'request', jsonb_build_object('request_id', x -> 'attempt_id'));
    when 'move' then
        update fermata.action set state = x ->> 'state', effect = coalesce((x ->> 'effect')::boolean, effect),
            receipt = coalesce(x -> 'receipt', receipt), error = coalesce(x -> 'error', error),
            looks = looks + coalesce((x ->> 'looks')::int4, 0),
            level = greatest(level, coalesce((x ->> 'level')::int2, 0)), updated_at = at
            where id = (x ->> 'action_id')::uuid;
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
        update fermata.intent set repeat_allowed = true where current_action = (x ->> 'action_id')::uuid;
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

-- As in 0024, but that of two plans of one batch for the same intent only the first is taken (I2): neither is in `action` yet.
create or replace function judge(at timestamptz, rare jsonb) returns jsonb language plpgsql as $$
declare
    r       record;
    planned fermata.intent;
    current fermata.action;
    verdict jsonb := '{}';
    why     jsonb;
    begun   jsonb := '{}';
    account text;
    taken   uuid[] := '{}';
begin
    for r in select e.x, (e.x ->> 'ord') as ord from jsonb_array_elements(rare) e(x)
             where e.x ->> 'op' in ('plan', 'attempt') loop
        if r.x ->> 'op' = 'plan' then
            insert into fermata.intent (id, client_id, key, spec, created_at)
            values ((r.x ->> 'intent_id')::uuid, r.x ->> 'client_id', r.x ->> 'intent_key', r.x -> 'spec', at)
            on conflict (client_id, key) do nothing;
            select * into planned from fermata.intent
                where client_id = r.x ->> 'client_id' and key = r.x ->> 'intent_key' for update;
            select * into current from fermata.action where id = planned.current_action;
            if current.id is null or current.id = (r.x ->> 'action_id')::uuid or planned.repeat_allowed
                or current.state in ('blocked', 'cancelled')
                or (current.state in ('confirmed_failed', 'postcheck_complete') and current.effect is false
                    and current.receipt is null) then
                if not planned.id = any (taken) then
                    taken := taken || planned.id;
                    continue;
                end if;
                current := null;
            end if;
            verdict := verdict || jsonb_build_object(r.ord, jsonb_build_object('held', to_jsonb(current)));
        elsif not verdict ? r.ord then
            account := jsonb_build_array(r.x -> 'client_id', r.x -> 'platform', r.x -> 'account_id')::text;
            why := fermata.admit(at, r.x, coalesce((begun ->> account)::int8, 0));
            if why is not null then
                verdict := verdict || jsonb_build_object(r.ord, why);
            else
                begun := jsonb_set(begun, array[account], to_jsonb(coalesce((begun ->> account)::int8, 0) + 1));
            end if;
        end if;
    end loop;
    return verdict;
end $$;

-- Whoever sleeps because of a policy looks again: another one is in force.
create function wake_put_off(client text, most int4) returns int4 language plpgsql as $$
declare
    put_off uuid[];
begin
    select coalesce(array_agg(w.id), '{}') into put_off from (
        select l.id from fermata.live l where l.state = 2 and l.wait_reason in ('rate_limited', 'cooldown', 'quiet_hours')
            and client in ('*', l.client_id) order by l.id limit most for update skip locked) w(id);
    perform fermata.knock(now(), put_off);
    return cardinality(put_off);
end $$;

grant select, insert on audit_seal, proof to fermata_writer;
grant select, insert, update on audit_head, signed_head to fermata_writer;
grant select on audit_seal, signed_head, proof to fermata_reader;
do $$
declare
    name text;
begin
    foreach name in array array['audit_seal', 'signed_head', 'proof'] loop
        execute format('alter table fermata.%I enable row level security', name);
        execute format('alter table fermata.%I force row level security', name);
        execute format('create policy writes on fermata.%I to fermata_writer using (true) with check (true)', name);
        execute format('create policy reads on fermata.%I for select to fermata_reader using (fermata.reads(client_id))', name);
    end loop;
end $$;
revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
