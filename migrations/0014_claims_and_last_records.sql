-- Two faults that the rig found: runs that nobody would ever take over, and a checkpoint with another
-- record's number.

set local search_path = fermata, pg_temp;

-- As in 0010, but that only a node that is still in the table claims. A claim of a process that was killed may
-- be carried out after its node was taken for dead and forgotten; what it claimed would belong to nobody
-- (random-kill, seed 1).
create or replace function claim(at timestamptz, holder uuid, slots int4, hosted text[], after text, max_deliveries int4)
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
    asked   uuid[];
    owners  text[];
    gates   uuid[];
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
    if cardinality(ready) = 0 then
        return;
    end if;
    -- Held to the commit, so that the node is not taken for dead, and forgotten, meanwhile.
    perform 1 from fermata.node h where h.id = holder for key share;
    if not found then
        return;
    end if;
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
            jsonb_build_object('deliveries', max_deliveries), at from over on conflict do nothing
        returning gate.id, gate.run_id)
    select array_agg(over.id), array_agg(over.id) filter (where opened.id is not null),
           array_agg(over.client_id) filter (where opened.id is not null),
           array_agg(opened.id) filter (where opened.id is not null)
        into parked, asked, owners, gates from over left join opened on opened.run_id = over.id;
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
    if asked is not null then
        perform fermata.append(at, owners, asked,
            array_fill('human.required'::text, array[cardinality(asked)]), array_fill(2::int2, array[cardinality(asked)]),
            (select array_agg(jsonb_build_object('gate_id', g.id, 'kind', 'takeover', 'reason', 'poison',
                                                 'expires_at', null, 'url', '/v1/gates/' || g.id) order by g.n)
             from unnest(gates) with ordinality g(id, n)), null);
    end if;
end $$;

-- As in 0010, but that what ends with a run is numbered by the record that ends it: the row that is deleted
-- still has the number of the record before (crash-point, seed 19).
create or replace function write(
    at timestamptz,
    ids uuid[], clients text[], kinds int2[], epochs int4[], seqs int4[], nexts int4[], inboxes int4[],
    dues timestamptz[], words text[], bodies jsonb[],
    st_ord int4[], st_key text[], st_attempt int2[], st_kind int2[], st_beside boolean[], st_hash text[],
    st_output jsonb[], st_error jsonb[], st_started timestamptz[],
    ev_ord int4[], ev_type text[], ev_severity int2[], ev_data jsonb[],
    locks uuid[], rare jsonb, audits jsonb
) returns table (applied int4[], seen int4[], cancels boolean[], refused jsonb, head int8) language plpgsql as $$
declare
    verdict jsonb := '{}';
    parents uuid[];
    x       jsonb;
    born    uuid[];
    whose   text[];
begin
    if rare is not null and rare @? '$[*] ? (@.op == "attempt")' then
        perform pg_advisory_xact_lock_shared(fermata.switch_lock());
    end if;
    if locks is not null then
        perform 1 from (select 1 from fermata.live where id = any (locks) order by id for no key update) held;
    end if;
    if rare is not null then
        verdict := fermata.judge(at, rare);
    end if;

    with i as materialized (
        select * from unnest(ids, clients, kinds, epochs, seqs, nexts, inboxes, dues, words, bodies)
            with ordinality t(id, client, kind, epoch, seq, next, inbox, due, word, body, ord)
        where verdict = '{}' or not verdict ? t.ord::text),
    u as (
        update fermata.live l set
            seq = i.next,
            deliveries = case when i.kind = 2 then greatest(l.deliveries - 1, 0) when i.word = 'backoff' then l.deliveries else 0 end,
            state = case i.kind when 0 then 1 when 2 then 0 else case when l.inbox = i.inbox then 2 else 0 end end,
            node = case when i.kind = 0 then l.node end,
            due = i.due,
            wait_reason = i.word,
            ready_at = case when i.kind = 0 then l.ready_at else at end
        from i
        where i.kind <= 2 and l.id = i.id and l.state = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
        returning i.ord, l.id, l.client_id, l.generation, l.epoch, l.seq, l.inbox, l.cancel, null::uuid as parent_id),
    d as (
        delete from fermata.live l using i
        where i.kind = 3 and l.id = i.id and l.state = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
        returning i.ord, l.id, l.client_id, l.generation, l.epoch, i.next as seq, l.inbox, l.cancel, l.parent_id, i.word, i.body),
    o as (
        insert into fermata.outcome (id, client_id, status, epoch, result, error, parent_id, ended_at)
        select d.id, d.client_id, d.word, d.epoch, case when d.word = 'SUCCEEDED' then d.body end,
               case when d.word <> 'SUCCEEDED' then d.body end, d.parent_id, at from d),
    ok as materialized (
        select u.* from u
        union all select d.ord, d.id, d.client_id, d.generation, d.epoch, d.seq, d.inbox, d.cancel, d.parent_id from d),
    s as (
        insert into fermata.step (run_id, generation, key, attempt, seq, epoch, kind, beside, input_hash, output, error,
                                  started_at, ended_at)
        select ok.id, ok.generation, t.key, t.attempt, ok.seq, ok.epoch, t.kind, t.beside, t.hash, t.output, t.error,
               t.started, at
        from unnest(st_ord, st_key, st_attempt, st_kind, st_beside, st_hash, st_output, st_error, st_started)
            t(ord, key, attempt, kind, beside, hash, output, error, started)
        join ok on ok.ord = t.ord)
    select array_agg(ok.ord::int4), array_agg(ok.inbox), array_agg(ok.cancel), array_agg(ok.parent_id) filter (where ok.parent_id is not null)
        into applied, seen, cancels, parents from ok;
    applied := coalesce(applied, '{}');

    if parents is not null then
        perform fermata.knock(at, parents);
    end if;
    if rare is not null then
        for x in select e.x from jsonb_array_elements(rare) e(x) where (e.x ->> 'ord')::int4 = any (applied) loop
            perform fermata.apply_rare(at, x);
        end loop;
        if rare @? '$[*] ? (@.op == "child")' then
            select array_agg((e.x -> 'child' ->> 'id')::uuid order by e.n), array_agg(e.x ->> 'client_id' order by e.n)
                into born, whose
                from jsonb_array_elements(rare) with ordinality e(x, n)
                where e.x ->> 'op' = 'child' and (e.x ->> 'ord')::int4 = any (applied);
        end if;
    end if;
    refused := verdict;
    if cardinality(applied) = cardinality(ids) then
        head := fermata.append(at,
            (select array_agg(clients[t.ord] order by n) from unnest(ev_ord) with ordinality t(ord, n)),
            (select array_agg(ids[t.ord] order by n) from unnest(ev_ord) with ordinality t(ord, n)),
            ev_type, ev_severity, ev_data, audits);
    else
        refused := refused || fermata.classify(ids, clients, epochs, nexts, applied, verdict);
        head := fermata.append(at,
            (select array_agg(clients[t.ord] order by n) from unnest(ev_ord) with ordinality t(ord, n) where t.ord = any (applied)),
            (select array_agg(ids[t.ord] order by n) from unnest(ev_ord) with ordinality t(ord, n) where t.ord = any (applied)),
            (select array_agg(ev_type[n] order by n) from unnest(ev_ord) with ordinality t(ord, n) where t.ord = any (applied)),
            (select array_agg(ev_severity[n] order by n) from unnest(ev_ord) with ordinality t(ord, n) where t.ord = any (applied)),
            (select array_agg(ev_data[n] order by n) from unnest(ev_ord) with ordinality t(ord, n) where t.ord = any (applied)),
            (select jsonb_agg(a.x order by a.n) from jsonb_array_elements(audits) with ordinality a(x, n)
              where (a.x ->> 'ord')::int4 = any (applied)));
    end if;
    if born is not null then
        head := fermata.append(at, whose, born,
            array_fill('status.changed'::text, array[cardinality(born)]), array_fill(1::int2, array[cardinality(born)]),
            array_fill('{"from": null, "to": "QUEUED"}'::jsonb, array[cardinality(born)]), null);
    end if;
    return next;
end $$;

set local search_path to default;
