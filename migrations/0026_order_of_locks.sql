-- In which order what a batch of actions contends for is locked: intents, accounts, paces, budgets, each by its key (design,
-- section 4). So two batches never wait for each other in a circle.

set local search_path = fermata, pg_temp;

-- Locks what attempts ration, and what outcomes may give back. What an attempt counts exists afterwards.
create function lock_rationed(at timestamptz, rare jsonb) returns void language plpgsql as $$
declare
    r record;
begin
    for r in
        select a.client, a.platform, a.account, bool_or(a.counts) as counts from (
            select e.x ->> 'client_id', e.x ->> 'platform', e.x ->> 'account_id', e.x ? 'concurrency'
                from jsonb_array_elements(rare) e(x)
                where e.x ->> 'op' in ('throttled', 'troubled') or e.x ->> 'op' = 'attempt' and e.x ? 'heads'
            union all
            select d.client_id, d.platform, d.account_id, false from jsonb_array_elements(rare) e(x)
                join fermata.action d on d.id = (e.x ->> 'action_id')::uuid where e.x ->> 'op' = 'move'
        ) a(client, platform, account, counts) group by 1, 2, 3 order by 1, 2, 3
    loop
        if r.counts then
            -- Whoever counts calls under way does so alone.
            insert into fermata.platform_account (client_id, platform, account_id) values (r.client, r.platform, r.account)
                on conflict do nothing;
        end if;
        perform from fermata.platform_account p
            where p.client_id = r.client and p.platform = r.platform and p.account_id = r.account for no key update;
    end loop;
    for r in
        select distinct e.x -> 'spacing' ->> 'key' as key from jsonb_array_elements(rare) e(x)
            where e.x ->> 'op' = 'attempt' and e.x ? 'spacing' order by 1
    loop
        insert into fermata.pace (key, free_at) values (r.key, '-infinity') on conflict do nothing;
        perform from fermata.pace p where p.key = r.key for no key update;
    end loop;
    for r in
        select b.key, max(b.window_s) as window_s from (
            select t.x ->> 'key', (t.x ->> 'window_s')::int8 from jsonb_array_elements(rare) e(x)
                cross join jsonb_array_elements(e.x -> 'tokens') t(x) where e.x ->> 'op' = 'attempt'
            union all
            select t.x ->> 'key', null from jsonb_array_elements(rare) e(x)
                join fermata.action d on d.id = (e.x ->> 'action_id')::uuid
                cross join jsonb_array_elements(d.tokens) t(x) where e.x ->> 'op' = 'move'
        ) b(key, window_s) group by 1 order by 1
    loop
        if r.window_s is not null then
            insert into fermata.budget (key, starts, ends, used)
                select r.key, w.opens, w.opens + r.window_s * interval '1 s', 0
                from (select fermata.window_start(at, r.window_s)) w(opens) on conflict do nothing;
        end if;
        -- Those of earlier windows too: they are given back to, and taken away.
        perform from fermata.budget b where b.key = r.key order by b.starts for no key update;
    end loop;
end $$;

drop function rationed(timestamptz, jsonb, int8, boolean);

-- As in 0024, but that it only reads: exact for whoever has locked what is rationed.
create function rationed(at timestamptz, x jsonb, beside int8) returns jsonb language plpgsql as $$
declare
    account fermata.platform_account;
    most    int8;
    free    timestamptz;
    need    jsonb;
    opens   timestamptz;
    spent   int8;
begin
    select * into account from fermata.platform_account a where a.client_id = x ->> 'client_id'
        and a.platform = x ->> 'platform' and a.account_id = x ->> 'account_id';
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
        select p.free_at into free from fermata.pace p where p.key = x -> 'spacing' ->> 'key';
        if free > at then
            return jsonb_build_object('wait', jsonb_build_object('rule', 'spacing', 'until', free));
        end if;
    end if;
    for need in select e.x from jsonb_array_elements(x -> 'tokens') e(x) loop
        opens := fermata.window_start(at, (need ->> 'window_s')::int8);
        spent := null;
        select b.used into spent from fermata.budget b where b.key = need ->> 'key' and b.starts = opens;
        if coalesce(spent, 0) + (need ->> 'n')::int8 > (need ->> 'max')::int8 then
            return jsonb_build_object('wait', jsonb_build_object('rule', 'budgets/' || (need ->> 'name'),
                'until', opens + (need ->> 'window_s')::int8 * interval '1 s'));
        end if;
    end loop;
    return null;
end $$;

-- As in 0024, but that what it counts was locked before, with that of all of its batch, and that a window is counted to its end.
create or replace function admit(at timestamptz, x jsonb, beside int8) returns jsonb language plpgsql as $$
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
    waits := fermata.rationed(at, x, beside);
    if waits is not null then
        insert into fermata.queued_call (run_id, client_id, platform, account_id, since)
            select (x ->> 'run_id')::uuid, x ->> 'client_id', x ->> 'platform', x ->> 'account_id', at
            where waits -> 'wait' ->> 'rule' = 'concurrency' on conflict do nothing;
        return waits;
    end if;
    update fermata.budget b set used = b.used + (t.x ->> 'n')::int8 from jsonb_array_elements(x -> 'tokens') t(x)
        where b.key = t.x ->> 'key' and b.starts = fermata.window_start(at, (t.x ->> 'window_s')::int8);
    -- Not the last window's: a batch that began before its end may still count in it.
    delete from fermata.budget b using jsonb_array_elements(x -> 'tokens') t(x)
        where b.key = t.x ->> 'key' and b.ends <= at - interval '1 h';
    delete from fermata.queued_call q where q.run_id = (x ->> 'run_id')::uuid;
    update fermata.pace p set free_at = at + (x -> 'spacing' ->> 'gap_ms')::int8 * interval '1 ms'
        where p.key = x -> 'spacing' ->> 'key';
    return null;
end $$;

-- As in 0025, but that everything is locked in order before it is asked about; a record's parts come, and are applied, in
-- their own order.
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
    for r in select e.x, (e.x ->> 'ord') as ord from jsonb_array_elements(rare) with ordinality e(x, n)
             where e.x ->> 'op' = 'plan' order by e.x ->> 'client_id', e.x ->> 'intent_key', e.n loop
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
            -- Of two plans of one batch for the same intent only the first is taken (I2): neither is in `action` yet.
            if not planned.id = any (taken) then
                taken := taken || planned.id;
                continue;
            end if;
            current := null;
        end if;
        verdict := verdict || jsonb_build_object(r.ord, jsonb_build_object('held', to_jsonb(current)));
    end loop;
    perform fermata.lock_rationed(at, rare);
    for r in select e.x, (e.x ->> 'ord') as ord from jsonb_array_elements(rare) with ordinality e(x, n)
             where e.x ->> 'op' = 'attempt' and not verdict ? (e.x ->> 'ord') order by e.n loop
        account := jsonb_build_array(r.x -> 'client_id', r.x -> 'platform', r.x -> 'account_id')::text;
        why := fermata.admit(at, r.x, coalesce((begun ->> account)::int8, 0));
        if why is not null then
            verdict := verdict || jsonb_build_object(r.ord, why);
        else
            begun := jsonb_set(begun, array[account], to_jsonb(coalesce((begun ->> account)::int8, 0) + 1));
        end if;
    end loop;
    return verdict;
end $$;

-- As in 0024, but that it waits for nobody's run: one that is locked is being woken, or ended, by somebody else.
create or replace function give_back() returns trigger language plpgsql as $$
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
        select w.run_id into next_run from fermata.queued_call w join fermata.live l on l.id = w.run_id
            where w.client_id = new.client_id and w.platform = new.platform and w.account_id = new.account_id
            order by w.since, w.run_id limit 1 for update skip locked;
        exit when next_run is null;
        delete from fermata.queued_call w where w.run_id = next_run;
        perform fermata.knock(new.updated_at, array[next_run]);
        places := places - 1;
    end loop;
    if old.state = 'attempted' and places > 0 then
        -- Those that have ended meanwhile wait for nothing.
        delete from fermata.queued_call q where q.run_id in (
            select w.run_id from fermata.queued_call w where w.client_id = new.client_id and w.platform = new.platform
                and w.account_id = new.account_id and not exists (select from fermata.live l where l.id = w.run_id)
            limit 64 for update skip locked);
    end if;
    return null;
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
