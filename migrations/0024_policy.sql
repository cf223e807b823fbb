-- Policies as versioned documents, and what they ration: budgets, spacing, concurrency (S-015 to S-018, S-063 to S-073;
-- design, section 5).

set local search_path = fermata, pg_temp;

-- Every version that a scope's document ever had. '*' stands for every client, platform and account.
create table policy (
    scope      text        not null,           -- global, platform:<p>, client:<c>, account:<c>/<a>
    version    int8        not null,
    client_id  text        not null,
    platform   text        not null,
    account_id text        not null,
    document   jsonb       not null,
    actor      text        not null,
    at         timestamptz not null,
    primary key (scope, version)
);
create trigger policy_is_append_only before update or delete on policy for each row execute function refuse_change();
create trigger policy_is_not_truncated before truncate on policy for each statement execute function refuse_change();

-- The version in force.
create table policy_head (
    scope      text primary key,
    version    int8 not null,
    client_id  text not null,
    platform   text not null,
    account_id text not null,
    unique (client_id, platform, account_id)
);

-- What actions were judged by, merged, under the hash that their verdicts name: for as long as there are actions.
create table policy_snapshot (
    client_id  text        not null,
    hash       text        not null,
    document   jsonb       not null,
    created_at timestamptz not null,
    primary key (client_id, hash)
);

-- What is known of an account of a client on a platform. One that nothing is known of has no row, and is in `normal` mode.
create table platform_account (
    client_id  text        not null,
    platform   text        not null,
    account_id text        not null,
    free_at    timestamptz not null default '-infinity',   -- the platform asked to be left alone until then
    allowance  int4        check (allowance >= 1),         -- calls at once, while the platform complains
    whole      int4        check (whole >= 1),             -- what it grows back to
    mode       text        not null default 'normal' check (mode in ('normal', 'read_only', 'disabled')),
    strikes    int4        not null default 0,             -- failed logins in a row
    reason     text,
    actor      text,
    changed_at timestamptz,
    primary key (client_id, platform, account_id),
    check ((allowance is null) = (whole is null))
) with (fillfactor = 50);

-- What was spent of a budget in the window that is open, or was the last one.
create table budget (
    key    text        not null,
    starts timestamptz not null,
    ends   timestamptz not null,
    used   int8        not null check (used >= 0),
    primary key (key, starts)
) with (fillfactor = 50);

-- When the next action of a kind may follow the last one.
create table pace (
    key     text        primary key,
    free_at timestamptz not null
) with (fillfactor = 50);

-- Runs that wait for a call of an account to end, because there may be no more at once.
create table queued_call (
    run_id     uuid        primary key,
    client_id  text        not null,
    platform   text        not null,
    account_id text        not null,
    since      timestamptz not null
) with (fillfactor = 50);
create index queued_call_of_account on queued_call (client_id, platform, account_id, since);

alter table action add column tokens jsonb;   -- what its attempt took of budgets: [{key, starts, n}]

-- Puts a document in force, with its event and its audit row. `known` is the version that the caller goes by, 0 for
-- none, null for whatever it is; if it is another one, nothing happens and nothing comes back. Whoever writes
-- `attempted` holds the lock shared until its commit: once this has answered, no attempt follows another policy.
create function put_policy(scope_ text, client text, platform_ text, account text, document_ jsonb, who text, known int8)
returns setof policy language plpgsql as $$
declare
    at     timestamptz;
    now_is fermata.policy;
    newest int8;
    told   jsonb;
begin
    perform pg_advisory_xact_lock(fermata.switch_lock());
    at := clock_timestamp();
    select coalesce(max(h.version), 0) into newest from fermata.policy_head h where h.scope = scope_;
    if known <> newest then
        return;
    end if;
    insert into fermata.policy (scope, version, client_id, platform, account_id, document, actor, at)
        values (scope_, newest + 1, client, platform_, account, document_, who, at) returning * into now_is;
    insert into fermata.policy_head (scope, version, client_id, platform, account_id)
        values (scope_, newest + 1, client, platform_, account)
        on conflict (scope) do update set version = excluded.version;
    told := jsonb_build_object('scope', scope_, 'version', now_is.version, 'actor', who,
        'client_id', nullif(client, '*'), 'platform', nullif(platform_, '*'), 'account_id', nullif(account, '*'));
    perform fermata.append(at, array[client], array[null::uuid], array['policy.changed'], array[1::int2], array[told],
        jsonb_build_array(jsonb_build_object('client_id', client, 'actor', who, 'phase', 'policy',
            'body', told || jsonb_build_object('document', document_))));
    return next now_is;
end $$;

-- The documents that an account's actions are judged by, the widest scope first.
create function policies_of(client text, platform_ text, account text) returns setof policy language sql stable as $$
    select p.* from fermata.policy_head h
    join fermata.policy p on p.scope = h.scope and p.version = h.version
    where h.client_id in ('*', client) and h.platform in ('*', platform_) and h.account_id in ('*', account)
    order by h.account_id <> '*', h.client_id <> '*', h.platform <> '*'
$$;

-- When a window of that length that holds a time begins: windows count from 1970 on.
create function window_start(at timestamptz, seconds int8) returns timestamptz language sql immutable as $$
    select to_timestamp(floor(extract(epoch from at) / seconds) * seconds)
$$;

-- What stands against an attempt of an account at a time: `{mode, reason}`, or `{wait: {rule, until}}`, or null. Exact only
-- when it `takes`: then what it counts is locked.
create function rationed(at timestamptz, x jsonb, beside int8, takes boolean) returns jsonb language plpgsql as $$
declare
    account fermata.platform_account;
    most    int8;
    free    timestamptz;
    need    jsonb;
    opens   timestamptz;
    spent   int8;
begin
    if takes then
        select * into account from fermata.platform_account a where a.client_id = x ->> 'client_id'
            and a.platform = x ->> 'platform' and a.account_id = x ->> 'account_id' for no key update;
        if not found and x ? 'concurrency' then
            -- Whoever counts calls under way does so alone.
            insert into fermata.platform_account (client_id, platform, account_id)
                values (x ->> 'client_id', x ->> 'platform', x ->> 'account_id') on conflict do nothing;
            select * into account from fermata.platform_account a where a.client_id = x ->> 'client_id'
                and a.platform = x ->> 'platform' and a.account_id = x ->> 'account_id' for no key update;
        end if;
    else
        select * into account from fermata.platform_account a where a.client_id = x ->> 'client_id'
            and a.platform = x ->> 'platform' and a.account_id = x ->> 'account_id';
    end if;
    if account.mode <> 'normal' then
        return jsonb_build_object('mode', account.mode, 'reason', account.reason);
    end if;
    if account.free_at > at then
        return jsonb_build_object('wait', jsonb_build_object('rule', 'retry_after', 'until', account.free_at));
    end if;
    most := least((x ->> 'concurrency')::int8, account.allowance);
    if most is not null and most <= beside + (select count(*) from fermata.action a where a.state = 'attempted'
            and a.client_id = x ->> 'client_id' and a.account_id = x ->> 'account_id' and a.platform = x ->> 'platform') then
        -- The end of a call wakes the next one; the time is for when that is missed.
        return jsonb_build_object('wait', jsonb_build_object('rule', 'concurrency', 'until', at + interval '30 s'));
    end if;
    if x ? 'spacing' then
        if takes then
            insert into fermata.pace (key, free_at) values (x -> 'spacing' ->> 'key', '-infinity') on conflict do nothing;
            select p.free_at into free from fermata.pace p where p.key = x -> 'spacing' ->> 'key' for no key update;
        else
            select p.free_at into free from fermata.pace p where p.key = x -> 'spacing' ->> 'key';
        end if;
        if free > at then
            return jsonb_build_object('wait', jsonb_build_object('rule', 'spacing', 'until', free));
        end if;
    end if;
    for need in select e.x from jsonb_array_elements(x -> 'tokens') e(x) loop
        opens := fermata.window_start(at, (need ->> 'window_s')::int8);
        spent := null;
        if takes then
            insert into fermata.budget (key, starts, ends, used)
                values (need ->> 'key', opens, opens + (need ->> 'window_s')::int8 * interval '1 s', 0)
                on conflict do nothing;
            select b.used into spent from fermata.budget b where b.key = need ->> 'key' and b.starts = opens
                for no key update;
        else
            select b.used into spent from fermata.budget b where b.key = need ->> 'key' and b.starts = opens;
        end if;
        if coalesce(spent, 0) + (need ->> 'n')::int8 > (need ->> 'max')::int8 then
            return jsonb_build_object('wait', jsonb_build_object('rule', 'budgets/' || (need ->> 'name'),
                'until', opens + (need ->> 'window_s')::int8 * interval '1 s'));
        end if;
    end loop;
    return null;
end $$;

-- Whether an action may be attempted now; null if so, and then its tokens are taken. `beside` is how many calls of its
-- account the same batch begins. Budgets are asked for in the order of their keys, so that two takers do not wait for
-- each other.
create function admit(at timestamptz, x jsonb, beside int8) returns jsonb language plpgsql as $$
declare
    stands text;
    switch text;
    heads  jsonb;
    waits  jsonb;
begin
    select a.state into stands from fermata.action a where a.id = (x ->> 'action_id')::uuid;
    if stands <> 'preflight_passed' then
        -- It was applied before, and its answer was lost.
        return null;
    end if;
    switch := fermata.stopped_by(x ->> 'client_id', x ->> 'account_id');
    if switch is not null then
        return jsonb_build_object('kill_switch', switch);
    end if;
    -- One that finds its effect done takes nothing; nor does a record that will not be applied (its run is locked by now).
    if not x ? 'heads' or not exists (select 1 from fermata.live l where l.id = (x ->> 'run_id')::uuid and l.state = 1
                                      and l.epoch = (x ->> 'epoch')::int4) then
        return null;
    end if;
    select coalesce(jsonb_object_agg(h.scope, h.version), '{}') into heads from fermata.policy_head h
        where h.client_id in ('*', x ->> 'client_id') and h.platform in ('*', x ->> 'platform')
            and h.account_id in ('*', x ->> 'account_id');
    if heads <> x -> 'heads' then
        return jsonb_build_object('policy_changed', heads);
    end if;
    waits := fermata.rationed(at, x, beside, true);
    if waits is not null then
        insert into fermata.queued_call (run_id, client_id, platform, account_id, since)
            select (x ->> 'run_id')::uuid, x ->> 'client_id', x ->> 'platform', x ->> 'account_id', at
            where waits -> 'wait' ->> 'rule' = 'concurrency' on conflict do nothing;
        return waits;
    end if;
    update fermata.budget b set used = b.used + (t.x ->> 'n')::int8 from jsonb_array_elements(x -> 'tokens') t(x)
        where b.key = t.x ->> 'key' and b.starts = fermata.window_start(at, (t.x ->> 'window_s')::int8);
    delete from fermata.budget b using jsonb_array_elements(x -> 'tokens') t(x) where b.key = t.x ->> 'key' and b.ends <= at;
    delete from fermata.queued_call q where q.run_id = (x ->> 'run_id')::uuid;
    update fermata.pace p set free_at = at + (x -> 'spacing' ->> 'gap_ms')::int8 * interval '1 ms'
        where p.key = x -> 'spacing' ->> 'key';
    return null;
end $$;

-- As in 0009, but that an attempt is admitted by everything that rations it.
create or replace function judge(at timestamptz, rare jsonb) returns jsonb language plpgsql as $$
declare
    r       record;
    planned fermata.intent;
    current fermata.action;
    verdict jsonb := '{}';
    why     jsonb;
    begun   jsonb := '{}';
    account text;
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
                continue;
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

-- As in 0003, but that a plan may end as blocked, that an attempt keeps what it took, and that a platform's complaint is heard.
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
    when 'resend' then
        update fermata.action set resends = resends + 1, attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at
            where id = (x ->> 'action_id')::uuid and state = 'attempted';
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'only an attempted action is sent again' using errcode = 'check_violation';
        end if;
    when 'move' then
        update fermata.action set state = x ->> 'state', effect = coalesce((x ->> 'effect')::boolean, effect),
            receipt = coalesce(x -> 'receipt', receipt), error = coalesce(x -> 'error', error),
            looks = looks + coalesce((x ->> 'looks')::int4, 0),
            level = greatest(level, coalesce((x ->> 'level')::int2, 0)), updated_at = at
            where id = (x ->> 'action_id')::uuid;
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

-- A platform asked for less (S-070 to S-072): nothing before the time that it named, and half as many calls at once.
create function throttle(at timestamptz, x jsonb) returns void language plpgsql as $$
declare
    under_way int8;
begin
    select count(*) into under_way from fermata.action a where a.state = 'attempted' and a.client_id = x ->> 'client_id'
        and a.account_id = x ->> 'account_id' and a.platform = x ->> 'platform';
    insert into fermata.platform_account as p (client_id, platform, account_id, free_at, allowance, whole)
        select x ->> 'client_id', x ->> 'platform', x ->> 'account_id', at + (x ->> 'after_ms')::int8 * interval '1 ms',
            greatest(w.whole / 2, 1), w.whole from (select greatest(under_way + 1, 1)::int4) w(whole)
        on conflict (client_id, platform, account_id) do update set free_at = greatest(p.free_at, excluded.free_at),
            whole = coalesce(p.whole, excluded.whole), allowance = greatest(coalesce(p.allowance, excluded.whole) / 2, 1);
end $$;

-- Puts an account into a mode, with its event and its audit row, unless it is in it for that reason.
create function mode_account(at timestamptz, client text, platform_ text, account text, wanted text, why text, who text)
returns setof platform_account language plpgsql as $$
declare
    now_is fermata.platform_account;
    told   jsonb;
begin
    insert into fermata.platform_account (client_id, platform, account_id) values (client, platform_, account)
        on conflict do nothing;
    select * into now_is from fermata.platform_account p
        where p.client_id = client and p.platform = platform_ and p.account_id = account for no key update;
    if now_is.mode = wanted and now_is.reason is not distinct from why then
        return next now_is;
        return;
    end if;
    told := jsonb_build_object('client_id', client, 'platform', platform_, 'account_id', account, 'from', now_is.mode,
        'to', wanted, 'reason', why, 'actor', who);
    update fermata.platform_account p set mode = wanted, reason = why, actor = who, changed_at = at, strikes = 0
        where p.client_id = client and p.platform = platform_ and p.account_id = account returning * into now_is;
    perform fermata.append(at, array[client], array[null::uuid], array['account.changed'],
        array[case when wanted = 'normal' then 1 else 2 end::int2], array[told],
        jsonb_build_array(jsonb_build_object('client_id', client, 'actor', who, 'phase', 'account', 'body', told)));
    return next now_is;
end $$;

-- The same by a person. Once this has answered, no effect of the account begins in another mode: whoever writes
-- `attempted` holds the lock shared until its commit.
create function turn_account(client text, platform_ text, account text, wanted text, why text, who text)
returns setof platform_account language plpgsql as $$
begin
    perform pg_advisory_xact_lock(fermata.switch_lock());
    return query select * from fermata.mode_account(clock_timestamp(), client, platform_, account, wanted, why, who);
end $$;

-- Something is wrong with an account (S-073): a challenge or another layout ends its effects at once, a failed login when
-- it is the third in a row (Q-28).
create function trouble(at timestamptz, x jsonb) returns void language plpgsql as $$
declare
    account fermata.platform_account;
begin
    insert into fermata.platform_account as p (client_id, platform, account_id, strikes)
        values (x ->> 'client_id', x ->> 'platform', x ->> 'account_id', 1)
        on conflict (client_id, platform, account_id) do update set strikes = p.strikes + 1 returning * into account;
    if account.mode = 'normal' and (x ->> 'trouble' <> 'account_auth' or account.strikes >= 3) then
        perform fermata.mode_account(at, account.client_id, account.platform, account.account_id, 'read_only',
            x ->> 'trouble', 'fermata');
    end if;
end $$;

-- What an attempt took goes back when nothing was done with it; and each call that succeeds gives its account one more at once.
create function give_back() returns trigger language plpgsql as $$
declare
    places   int4 := 1;
    next_run uuid;
begin
    if new.effect is false then
        update fermata.budget b set used = greatest(b.used - (t.x ->> 'n')::int8, 0) from jsonb_array_elements(new.tokens) t(x)
            where b.key = t.x ->> 'key' and b.starts = (t.x ->> 'starts')::timestamptz;
    elsif new.state = 'confirmed_success' then
        update fermata.platform_account p set
            allowance = case when p.allowance + 1 < p.whole then p.allowance + 1 end,
            whole = case when p.allowance + 1 < p.whole then p.whole end, strikes = 0
            where p.client_id = new.client_id and p.platform = new.platform and p.account_id = new.account_id
                and (p.allowance is not null or p.strikes > 0);
        if found then
            places := 2;
        end if;
    end if;
    -- Its place is free for whoever has waited longest.
    while old.state = 'attempted' and places > 0 loop
        delete from fermata.queued_call q where q.run_id = (
                select w.run_id from fermata.queued_call w where w.client_id = new.client_id and w.platform = new.platform
                    and w.account_id = new.account_id order by w.since, w.run_id limit 1 for update skip locked)
            returning q.run_id into next_run;
        exit when next_run is null;
        -- One that has ended meanwhile takes no place.
        if exists (select 1 from fermata.live l where l.id = next_run) then
            perform fermata.knock(new.updated_at, array[next_run]);
            places := places - 1;
        end if;
    end loop;
    return null;
end $$;
create trigger give_back after update of state on action for each row
    when (old.state in ('attempted', 'unknown') and old.effect is distinct from false
          and new.state in ('confirmed_success', 'confirmed_failed', 'unknown', 'postcheck_complete'))
    execute function give_back();

grant select, insert, update, delete on policy_head, platform_account, budget, pace, queued_call to fermata_writer;
grant select, insert on policy, policy_snapshot to fermata_writer;
grant select on policy, policy_head, platform_account, policy_snapshot to fermata_reader;
alter table policy enable row level security;
alter table policy force row level security;
create policy writes on policy to fermata_writer using (true) with check (true);
create policy reads on policy for select to fermata_reader using (client_id = '*' or reads(client_id));
alter table policy_head enable row level security;
alter table policy_head force row level security;
create policy writes on policy_head to fermata_writer using (true) with check (true);
create policy reads on policy_head for select to fermata_reader using (client_id = '*' or reads(client_id));
alter table platform_account enable row level security;
alter table platform_account force row level security;
create policy writes on platform_account to fermata_writer using (true) with check (true);
create policy reads on platform_account for select to fermata_reader using (reads(client_id));
alter table policy_snapshot enable row level security;
alter table policy_snapshot force row level security;
create policy writes on policy_snapshot to fermata_writer using (true) with check (true);
create policy reads on policy_snapshot for select to fermata_reader using (reads(client_id));

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
