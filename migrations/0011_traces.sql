-- One trace for a command, from its caller across crash and resume: what of it must be durable.

set local search_path = fermata, pg_temp;

-- The caller's span and flags, as in its `traceparent`: `00f067aa0ba902b7-01`. A child has those of
-- the command that began it all, for the flags; its own caller is its parent run.
alter table run add column caller text;

-- Accepts commands. Answers one row per refused or replayed input; the others were accepted.
create or replace function accept(
    at timestamptz, ids uuid[], clients text[], kinds text[], workflows text[], inputs jsonb[], envelopes jsonb[],
    keys text[], fingerprints text[], trace_ids text[], submitters text[]
) returns table (ord int4, run_id uuid, same boolean) language plpgsql as $$
declare
    accepted int4[];
begin
    with i as materialized (
        select * from unnest(ids, clients, kinds, workflows, inputs, envelopes, keys, fingerprints, trace_ids, submitters)
            with ordinality t(id, client, kind, workflow, input, envelope, key, fingerprint, trace_id, submitter, n)),
    k as (
        insert into fermata.idempotency (client_id, family, key, fingerprint, run_id, created_at)
        select i.client, 'commands', i.key, i.fingerprint, i.id, at from i where i.key is not null
        on conflict do nothing returning idempotency.run_id as id),
    w as materialized (
        select i.* from i where i.key is null or exists (select 1 from k where k.id = i.id)),
    r as (
        insert into fermata.run (id, client_id, kind, workflow, platform, account_id, session_id, correlation_id,
            idempotency_key, priority, not_before, deadline, policy, input, trace_id, caller,
            submitted_by, created_at)
        select w.id, w.client, w.kind, w.workflow, w.envelope ->> 'platform', w.envelope ->> 'account_id',
            w.envelope ->> 'session_id', w.envelope ->> 'correlation_id', w.key,
            coalesce((w.envelope ->> 'priority')::int2, 5), (w.envelope ->> 'not_before')::timestamptz,
            (w.envelope ->> 'deadline')::timestamptz, w.envelope -> 'policy', w.input, w.trace_id,
            w.envelope ->> 'caller', w.submitter, at
        from w on conflict do nothing returning run.id),
    l as (
        insert into fermata.live (id, client_id, workflow, state, priority, ready_at, due, deadline, wait_reason)
        select w.id, w.client, w.workflow,
            case when (w.envelope ->> 'not_before')::timestamptz > at then 2 else 0 end,
            coalesce((w.envelope ->> 'priority')::int2, 5), at,
            case when (w.envelope ->> 'not_before')::timestamptz > at then (w.envelope ->> 'not_before')::timestamptz end,
            (w.envelope ->> 'deadline')::timestamptz,
            case when (w.envelope ->> 'not_before')::timestamptz > at then 'timer' end
        from w join r on r.id = w.id returning live.id)
    select array_agg(w.n::int4) into accepted from w join r on r.id = w.id;

    if coalesce(array_length(accepted, 1), 0) < array_length(ids, 1) then
        return query
            select i.n::int4, d.run_id, d.fingerprint = i.fingerprint
            from unnest(clients, keys, fingerprints) with ordinality i(client, key, fingerprint, n)
            join fermata.idempotency d on d.client_id = i.client and d.family = 'commands' and d.key = i.key
            where not i.n = any (coalesce(accepted, '{}'));
    end if;
    perform fermata.append(at,
        (select array_agg(clients[n]) from unnest(accepted) n),
        (select array_agg(ids[n]) from unnest(accepted) n),
        (select array_agg('status.changed'::text) from unnest(accepted) n),
        (select array_agg(1::int2) from unnest(accepted) n),
        (select array_agg('{"from": null, "to": "QUEUED"}'::jsonb) from unnest(accepted) n), null);
end $$;

-- Inserts one child run; part of its parent's record.
create or replace function accept_child(at timestamptz, parent uuid, client text, child jsonb) returns void language sql as $$
    insert into fermata.run (id, client_id, kind, workflow, correlation_id, priority, deadline, input, trace_id,
                             caller, parent_id, submitted_by, created_at)
    select (child ->> 'id')::uuid, client, child ->> 'kind', child ->> 'workflow', p.correlation_id, p.priority,
           p.deadline, child -> 'input', p.trace_id, p.caller, parent, p.submitted_by, at
    from fermata.run p where p.id = parent;
    insert into fermata.live (id, client_id, workflow, state, priority, ready_at, deadline, parent_id)
    select (child ->> 'id')::uuid, client, child ->> 'workflow', 0, p.priority, at, p.deadline, parent
    from fermata.run p where p.id = parent;
$$;

-- The event of a run that was taken from a dead node says from which one, so that whoever takes the
-- run over can tell of the episode that its holder never ended.
--
-- Takes the runs of nodes that are provably gone: their lease has run out, or (early) the session
-- lock that each holds is free although the server never restarted. Answers how many runs moved.
create or replace function reap(at timestamptz, early boolean, lease interval) returns table (nodes int4, runs int4)
language plpgsql as $$
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
        select l.id, l.node from fermata.live l where l.state = 1 and l.node = any (dead) order by l.id
               for no key update),
    m as (
        update fermata.live l set state = 0, node = null, ready_at = at, wait_reason = null
        from locked where l.id = locked.id returning l.id, locked.node)
    select array_agg(m.id), array_agg(m.node) into moved, held from m;
    delete from fermata.node where id = any (dead);
    runs := coalesce(cardinality(moved), 0);
    perform fermata.append(at,
        (select array_agg(l.client_id order by t.n) from unnest(moved) with ordinality t(run_id, n) join fermata.live l on l.id = t.run_id),
        moved,
        (select array_agg('status.changed'::text) from unnest(moved)),
        (select array_agg(2::int2) from unnest(moved)),
        (select array_agg(jsonb_build_object('from', 'RUNNING', 'to', 'QUEUED', 'reason', 'node_lost', 'node', t.node) order by t.n)
         from unnest(held) with ordinality t(node, n)), null);
    return next;
end $$;

set local search_path to default;
