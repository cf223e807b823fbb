-- A run whose cancellation was acknowledged ends as cancelled: a record that would end it otherwise is not applied, and
-- the answer tells its holder, who had not heard of it: the checkpoint of the last step, which would have told, comes with
-- the run's end.

set local search_path = fermata, pg_temp;

-- As in 0015, but for the cancelled.
--
-- Writes records of lease holders, at most one per run, sorted by run, whose rows are locked if need be. Kinds: 0 advance, 1 suspend,
-- 2 hand back, 3 finish, which is not applied to a run that somebody has cancelled unless it says so. Answers which ordinals were applied (with the inbox counter and the cancel flag of their
-- runs), why the others were not, and the events and audit rows of what was applied.
--
-- `live.state + 0` hides the condition from the partial indexes on `state`. `between i.id and i.id` is `= i.id` for which there
-- is no way but from the record to its row by the key: with `=` a plan made when the table was analysed empty, as it is
-- whenever nothing is under way, walks through all of `live` and compares each of its rows with each record.
create or replace function write(
    at timestamptz,
    ids uuid[], clients text[], kinds int2[], epochs int4[], seqs int4[], nexts int4[], inboxes int4[], generations int4[],
    dues timestamptz[], words text[], bodies jsonb[],
    st_ord int4[], st_key text[], st_attempt int2[], st_kind int2[], st_beside boolean[], st_hash text[],
    st_output jsonb[], st_error jsonb[], st_started timestamptz[],
    ev_ord int4[], inout ev_client text[], inout ev_run uuid[], inout ev_type text[], inout ev_severity int2[],
    inout ev_data jsonb[], rare jsonb, inout audits jsonb,
    out applied int4[], out seen int4[], out cancels boolean[], out refused jsonb
) language plpgsql as $$
declare
    verdict jsonb := '{}';
    whole   boolean;
    parents uuid[];
    x       jsonb;
    born    uuid[];
    whose   text[];
begin
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
        where i.kind <= 2 and l.id between i.id and i.id and l.state + 0 = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
        returning i.ord, l.inbox, l.cancel),
    d as (
        delete from fermata.live l using i
        where i.kind = 3 and l.id between i.id and i.id and l.state + 0 = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
            and (i.word = 'CANCELLED' or not l.cancel)
        returning i.ord, l.inbox, l.cancel, l.id, l.client_id, l.epoch, l.parent_id, i.word, i.body),
    o as (
        insert into fermata.outcome (id, client_id, status, epoch, result, error, parent_id, ended_at)
        select d.id, d.client_id, d.word, d.epoch, case when d.word = 'SUCCEEDED' then d.body end,
               case when d.word <> 'SUCCEEDED' then d.body end, d.parent_id, at from d),
    ok as (
        select u.ord, u.inbox, u.cancel, null::uuid as parent_id from u
        union all select d.ord, d.inbox, d.cancel, d.parent_id from d)
    select array_agg(ok.ord::int4), array_agg(ok.inbox), array_agg(ok.cancel),
           array_agg(ok.parent_id) filter (where ok.parent_id is not null)
        into applied, seen, cancels, parents from ok;
    applied := coalesce(applied, '{}');
    whole := cardinality(applied) = cardinality(ids);

    if cardinality(st_ord) > 0 then
        insert into fermata.step (run_id, generation, key, attempt, seq, epoch, kind, beside, input_hash, output, error,
                                  started_at, ended_at)
        select ids[t.ord], generations[t.ord], t.key, t.attempt, nexts[t.ord], epochs[t.ord], t.kind, t.beside, t.hash,
               t.output, t.error, t.started, at
        from unnest(st_ord, st_key, st_attempt, st_kind, st_beside, st_hash, st_output, st_error, st_started)
            t(ord, key, attempt, kind, beside, hash, output, error, started)
        where whole or t.ord = any (applied);
    end if;
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
    if not whole then
        refused := refused || fermata.classify(ids, clients, epochs, nexts, applied, verdict);
        select array_agg(e.client order by e.n), array_agg(e.run order by e.n), array_agg(e.type order by e.n),
               array_agg(e.severity order by e.n), array_agg(e.data order by e.n)
            into ev_client, ev_run, ev_type, ev_severity, ev_data
            from unnest(ev_ord, ev_client, ev_run, ev_type, ev_severity, ev_data)
                with ordinality e(ord, client, run, type, severity, data, n)
            where e.ord = any (applied);
        select jsonb_agg(a.x order by a.n) into audits from jsonb_array_elements(audits) with ordinality a(x, n)
            where (a.x ->> 'ord')::int4 = any (applied);
    end if;
    if born is not null then
        ev_client := ev_client || whose;
        ev_run := ev_run || born;
        ev_type := ev_type || array_fill('status.changed'::text, array[cardinality(born)]);
        ev_severity := ev_severity || array_fill(1::int2, array[cardinality(born)]);
        ev_data := ev_data || array_fill('{"from": null, "to": "QUEUED", "version": 0}'::jsonb, array[cardinality(born)]);
    end if;
end $$;

-- Why records were not applied. One that is next in the order of the holder's own was stopped by the cancellation.
create or replace function classify(ids uuid[], clients text[], epochs int4[], nexts int4[], applied int4[], verdict jsonb)
returns jsonb language sql stable as $$
    select coalesce(jsonb_object_agg(i.ord::text, case
        when l.client_id <> i.client or o.client_id <> i.client then '{"outcome": "refused"}'::jsonb
        when l.epoch = i.epoch and l.seq >= i.next then '{"outcome": "replayed"}'::jsonb
        when l.id is null and o.epoch = i.epoch then '{"outcome": "replayed"}'::jsonb
        when l.cancel and l.state = 1 and l.epoch = i.epoch and l.seq + 1 = i.next then '{"outcome": "cancelled"}'::jsonb
        else '{"outcome": "fenced"}'::jsonb end), '{}')
    from unnest(ids, clients, epochs, nexts) with ordinality i(id, client, epoch, next, ord)
    left join fermata.live l on l.id between i.id and i.id
    left join fermata.outcome o on o.id between i.id and i.id
    where not i.ord = any (applied) and not verdict ? i.ord::text
$$;

set local search_path to default;
