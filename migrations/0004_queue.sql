-- Claim, wake, reap: how runs get to nodes and away from dead ones.

set local search_path = fermata, pg_temp;

-- Claims up to `slots` ready runs for a node, in turns between clients (one client's 100,000 runs
-- do not starve another's one). Runs that were delivered too often without progress are parked.
create function claim(at timestamptz, holder uuid, slots int4, hosted text[], after text, max_deliveries int4)
returns table (id uuid, client_id text, epoch int4, seq int4, generation int4, inbox int4, deliveries int2,
               cancel boolean, deadline timestamptz, parent_id uuid, workflow text, kind text, input jsonb,
               account_id text, platform text, trace_id text, created_at timestamptz, was text)
language plpgsql as $$
declare
    max_clients constant int4 := 64;
    ready   text[] := '{}';
    found_client text;
    wrapped boolean := false;
    share   int4;
    taken   uuid[] := '{}';
    words   text[] := '{}';
    parked  uuid[];
    got     record;
begin
    found_client := after;
    loop
        select l.client_id into found_client from fermata.live l
            where l.state = 0 and l.client_id > found_client order by l.client_id limit 1;
        if found_client is null then
            exit when wrapped or after = '';
            wrapped := true;
            found_client := '';
            continue;
        end if;
        exit when found_client = any (ready) or (wrapped and found_client > after) or cardinality(ready) >= max_clients;
        ready := ready || found_client;
    end loop;
    for n in 1..cardinality(ready) loop
        exit when cardinality(taken) >= slots;
        share := greatest(1, ceil((slots - cardinality(taken))::numeric / (cardinality(ready) - n + 1))::int4);
        with picked as (
            select l.id as picked_id, l.wait_reason as reason from fermata.live l
            where l.state = 0 and l.client_id = ready[n] and l.workflow = any (hosted)
            order by l.priority desc, l.ready_at, l.id limit share for no key update skip locked),
        moved as (
            update fermata.live l set state = 1, epoch = l.epoch + 1, node = holder, deliveries = l.deliveries + 1,
                wait_reason = null, due = null
            from picked where l.id = picked.picked_id returning l.id, l.cancel, picked.reason)
        select array_agg(moved.id) as ids, array_agg(case
            when moved.cancel then 'CANCELLING' when reason is null then 'QUEUED' when reason in ('approval', 'takeover') then 'HUMAN_REQUIRED'
            when reason = 'external_poll' then 'POLLING' else 'WAITING' end) as words into got from moved;
        taken := taken || coalesce(got.ids, '{}');
        words := words || coalesce(got.words, '{}');
    end loop;
    if cardinality(taken) = 0 then
        return;
    end if;
    with over as (
        update fermata.live l set state = 3, node = null, wait_reason = 'takeover'
        where l.id = any (taken) and l.deliveries > max_deliveries returning l.id, l.client_id, l.generation),
    opened as (
        insert into fermata.gate (id, run_id, client_id, key, generation, kind, reason, shown, opened_at)
        select gen_random_uuid(), over.id, over.client_id, '@parked', over.generation, 'takeover', 'poison',
            jsonb_build_object('deliveries', max_deliveries), at from over on conflict do nothing)
    select array_agg(over.id) into parked from over;
    return query
        select l.id, l.client_id, l.epoch, l.seq, l.generation, l.inbox, l.deliveries, l.cancel, l.deadline, l.parent_id,
               l.workflow, r.kind, coalesce(v.input, r.input), r.account_id, r.platform, r.trace_id, r.created_at, t.word
        from unnest(taken, words) t(run_id, word)
        join fermata.live l on l.id = t.run_id
        join fermata.run r on r.id = t.run_id
        left join fermata.renewal v on v.run_id = l.id and v.generation = l.generation
        where parked is null or not t.run_id = any (parked);
    perform fermata.append(at,
        (select array_agg(l.client_id order by t.n) from unnest(taken) with ordinality t(run_id, n) join fermata.live l on l.id = t.run_id),
        taken,
        (select array_agg('status.changed'::text) from unnest(taken)),
        (select array_agg(1::int2) from unnest(taken)),
        (select array_agg(jsonb_build_object('from', t.word, 'to',
            case when parked is not null and t.run_id = any (parked) then 'HUMAN_REQUIRED'
                 when t.word = 'CANCELLING' then 'CANCELLING' else 'RUNNING' end) order by t.n)
         from unnest(taken, words) with ordinality t(run_id, word, n)), null);
end $$;

-- Readies runs whose time has come; answers how many, and when to come again.
create function wake(at timestamptz, most int4) returns table (woken int4, next_due timestamptz) language plpgsql as $$
begin
    update fermata.live set state = 0, ready_at = at, due = null
        where id in (select l.id from fermata.live l where l.state = 2 and l.due <= at
                     order by l.due limit most for no key update skip locked);
    get diagnostics woken = row_count;
    select min(l.due) into next_due from fermata.live l where l.state = 2 and l.due is not null;
    return next;
end $$;

-- Takes the runs of nodes that are provably gone: their lease has run out, or (early) the session
-- lock that each holds is free although the server never restarted. Answers how many runs moved.
create function reap(at timestamptz, early boolean, lease interval) returns table (nodes int4, runs int4)
language plpgsql as $$
declare
    dead  uuid[];
    moved uuid[];
begin
    select array_agg(n.id) into dead from (
        select id from fermata.node
        where lease_until < at
           or (early and server_start = pg_postmaster_start_time() and server_start < at - lease
               and not exists (select 1 from pg_locks p where p.locktype = 'advisory' and p.granted
                    and p.database = (select oid from pg_database where datname = current_database())
                    and p.objsubid = 1 and (p.classid::int8 << 32 | p.objid::int8) = lock_key))
        order by id for update skip locked) n;
    nodes := coalesce(cardinality(dead), 0);
    runs := 0;
    if nodes = 0 then
        return next;
        return;
    end if;
    with locked as (
        select l.id from fermata.live l where l.state = 1 and l.node = any (dead) order by l.id for no key update),
    m as (
        update fermata.live l set state = 0, node = null, ready_at = at, wait_reason = null
        from locked where l.id = locked.id returning l.id)
    select array_agg(m.id) into moved from m;
    delete from fermata.node where id = any (dead);
    runs := coalesce(cardinality(moved), 0);
    perform fermata.append(at,
        (select array_agg(l.client_id order by t.n) from unnest(moved) with ordinality t(run_id, n) join fermata.live l on l.id = t.run_id),
        moved,
        (select array_agg('status.changed'::text) from unnest(moved)),
        (select array_agg(2::int2) from unnest(moved)),
        (select array_agg('{"from": "RUNNING", "to": "QUEUED", "reason": "node_lost"}'::jsonb) from unnest(moved)), null);
    return next;
end $$;

set local search_path to default;
