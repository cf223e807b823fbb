-- Every row of `live` is reached by its key, whatever the planner was told of the table. When nothing is under way `live` is
-- analysed empty, and a join by `=` is then planned as a walk through all of it, each row of which is compared with each
-- that is looked for; that plan stays until the next analyse, whatever comes meanwhile. For `between x and x` there is no such walk.

set local search_path = fermata, pg_temp;

-- As in 0017, but for the walk.
create or replace function claim(
    at timestamptz, holder uuid, slots int4, hosted text[], after text, max_deliveries int4, inout claimed uuid[],
    inout ev_client text[], inout ev_run uuid[], inout ev_type text[], inout ev_severity int2[], inout ev_data jsonb[],
    out exhausted boolean
) language plpgsql as $$
declare
    max_clients constant int4 := 64;
    ready   text[] := '{}';
    found_client text;
    wrapped boolean := false;
    share   int4;
    taken   uuid[] := '{}';
    words   text[] := '{}';
    whose   text[] := '{}';
    seqs    int4[] := '{}';
    parked  uuid[];
    asked   uuid[];
    owners  text[];
    gates   uuid[];
    got     record;
    most    int2 := 0;    -- deliveries of any that was taken
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
        exit when wrapped and found_client > after;
        ready := ready || found_client;
        exit when (wrapped and found_client = after) or cardinality(ready) >= max_clients;
    end loop;
    exhausted := cardinality(ready) < max_clients;
    for n in 1..cardinality(ready) loop
        if cardinality(taken) >= slots then
            exhausted := false;
            exit;
        end if;
        share := greatest(1, ceil((slots - cardinality(taken))::numeric / (cardinality(ready) - n + 1))::int4);
        with picked as (
            select l.id as picked_id, l.wait_reason as reason from fermata.live l
            where l.state = 0 and l.client_id = ready[n] and l.workflow = any (hosted)
            order by l.priority desc, l.ready_at, l.id limit share for no key update skip locked),
        moved as (
            update fermata.live l set state = 1, epoch = l.epoch + 1, node = holder, deliveries = l.deliveries + 1,
                wait_reason = null, due = null
            from picked where l.id between picked.picked_id and picked.picked_id
            returning l.id, l.client_id, l.seq, l.cancel, l.deliveries, picked.reason)
        select max(moved.deliveries) as most, array_agg(moved.id) as ids, array_agg(moved.client_id) as clients, array_agg(moved.seq) as seqs, array_agg(case
            when moved.cancel then 'CANCELLING' when reason is null then 'QUEUED' when reason in ('approval', 'takeover') then 'HUMAN_REQUIRED'
            when reason = 'external_poll' then 'POLLING' else 'WAITING' end) as words into got from moved;
        exhausted := exhausted and coalesce(cardinality(got.ids), 0) < share;
        most := greatest(most, got.most);
        taken := taken || coalesce(got.ids, '{}');
        words := words || coalesce(got.words, '{}');
        whose := whose || coalesce(got.clients, '{}');
        seqs := seqs || coalesce(got.seqs, '{}');
    end loop;
    if cardinality(taken) = 0 then
        return;
    end if;
    if most > max_deliveries then
        with over as (
            update fermata.live l set state = 3, node = null, wait_reason = 'takeover'
            where l.id = any (taken) and l.deliveries > max_deliveries returning l.id, l.client_id, l.generation),
        opened as (
            insert into fermata.gate (id, run_id, client_id, key, generation, kind, reason, shown, opened_at)
            select gen_random_uuid(), over.id, over.client_id, '@parked', over.generation, 'takeover', 'poison',
                jsonb_build_object('deliveries', max_deliveries), at from over on conflict do nothing
            returning gate.id, gate.run_id)
        select array_agg(over.id), array_agg(over.id) filter (where opened.id is not null),
               array_agg(over.client_id) filter (where opened.id is not null),
               array_agg(opened.id) filter (where opened.id is not null)
            into parked, asked, owners, gates from over left join opened on opened.run_id = over.id;
    end if;
    claimed := claimed || case when parked is null then taken else array(select t from unnest(taken) t where not t = any (parked)) end;
    ev_client := ev_client || whose;
    ev_run := ev_run || taken;
    ev_type := ev_type || array_fill('status.changed'::text, array[cardinality(taken)]);
    ev_severity := ev_severity || array_fill(1::int2, array[cardinality(taken)]);
    ev_data := ev_data || (select array_agg(jsonb_build_object('from', t.word, 'to',
            case when parked is not null and t.run_id = any (parked) then 'HUMAN_REQUIRED'
                 when t.word = 'CANCELLING' then 'CANCELLING' else 'RUNNING' end, 'version', t.seq) order by t.n)
         from unnest(taken, words, seqs) with ordinality t(run_id, word, seq, n));
    if asked is not null then
        ev_client := ev_client || owners;
        ev_run := ev_run || asked;
        ev_type := ev_type || array_fill('human.required'::text, array[cardinality(asked)]);
        ev_severity := ev_severity || array_fill(2::int2, array[cardinality(asked)]);
        ev_data := ev_data || (select array_agg(jsonb_build_object('gate_id', g.id, 'kind', 'takeover', 'reason', 'poison',
                'expires_at', null, 'url', '/v1/gates/' || g.id) order by g.n) from unnest(gates) with ordinality g(id, n));
    end if;
end $$;

-- As in 0011, but for the walk.
create or replace function reap(at timestamptz, early boolean, lease interval) returns table (nodes int4, runs int4)
language plpgsql set enable_seqscan = off set jit = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    dead  uuid[];
    moved uuid[];
    held  uuid[];
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
        select l.id, l.node from (select x from unnest(array(select h.id from fermata.live h where h.state = 1 and h.node = any (dead))) x
                                  order by x) t
        join fermata.live l on l.id between t.x and t.x and l.state + 0 = 1 and l.node = any (dead) for no key update of l),
    m as (
        update fermata.live l set state = 0, node = null, ready_at = at, wait_reason = null
        from locked where l.id between locked.id and locked.id returning l.id, locked.node)
    select array_agg(m.id), array_agg(m.node) into moved, held from m;
    delete from fermata.node where id = any (dead);
    runs := coalesce(cardinality(moved), 0);
    perform fermata.append(at,
        (select array_agg(l.client_id order by t.n) from unnest(moved) with ordinality t(run_id, n) join fermata.live l on l.id between t.run_id and t.run_id),
        moved,
        (select array_agg('status.changed'::text) from unnest(moved)),
        (select array_agg(2::int2) from unnest(moved)),
        (select array_agg(jsonb_build_object('from', 'RUNNING', 'to', 'QUEUED', 'reason', 'node_lost', 'node', t.node) order by t.n)
         from unnest(held) with ordinality t(node, n)), null);
    return next;
end $$;

-- As in 0004, but that it neither joins nor looks at more than the first of those that sleep.
create or replace function wake(at timestamptz, most int4) returns table (woken int4, next_due timestamptz) language plpgsql
set enable_seqscan = off set jit = off as $$
declare
    taken uuid[];
begin
    taken := array(select l.id from fermata.live l where l.state = 2 and l.due <= at
                   order by l.due limit most for no key update skip locked);
    update fermata.live set state = 0, ready_at = at, due = null where id = any (taken);
    get diagnostics woken = row_count;
    select l.due into next_due from fermata.live l where l.state = 2 and l.due is not null order by l.due limit 1;
    return next;
end $$;

set local search_path to default;
