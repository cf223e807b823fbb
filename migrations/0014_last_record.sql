-- A checkpoint that rides with the last record of its run has that record's number, and not the one before.

set local search_path = fermata, pg_temp;

-- As in 0010, but that what ends with a run is numbered by the record that ends it: the row that is deleted
-- still has the number of the record before (found by the rig: crash-point, seed 19).
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
