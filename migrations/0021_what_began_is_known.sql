-- What begins in the commit that accepts it is told of from what was accepted, and not read again.

set local search_path = fermata, pg_temp;

drop function accept;

-- As in 0017, and tells of what began as a claim does.
create function accept(
    at timestamptz, ids uuid[], clients text[], kinds text[], workflows text[], inputs jsonb[], envelopes jsonb[],
    keys text[], trace_ids text[], submitters text[], born uuid[], holder uuid, spare int4, hosted text[],
    out begun uuid[], out owners text[], out deadlines timestamptz[], out begun_kinds text[], out begun_inputs jsonb[],
    out accounts text[], out traces text[], out callers text[]
) language plpgsql as $$
declare
    whole  boolean := cardinality(born) = cardinality(ids);
    begins boolean := spare > 0;
begin
    if begins and spare < cardinality(born) then
        begins := spare >= (
            select count(*) from unnest(ids, workflows, envelopes) i(id, workflow, envelope)
            where (whole or i.id = any (born)) and i.workflow = any (hosted)
              and coalesce((i.envelope ->> 'not_before')::timestamptz <= at, true));
    end if;
    with i as materialized (
        select u.*, coalesce((u.envelope ->> 'priority')::int2, 5) as priority,
            (u.envelope ->> 'not_before')::timestamptz as not_before, (u.envelope ->> 'deadline')::timestamptz as deadline,
            case when (u.envelope ->> 'not_before')::timestamptz > at then 2
                 when begins and u.workflow = any (hosted) then 1 else 0 end as state
        from unnest(ids, clients, kinds, workflows, inputs, envelopes, keys, trace_ids, submitters)
            u(id, client, kind, workflow, input, envelope, key, trace_id, submitter)
        where whole or u.id = any (born)),
    r as (
        insert into fermata.run (id, client_id, kind, workflow, platform, account_id, session_id, correlation_id,
            idempotency_key, priority, not_before, deadline, policy, input, trace_id, caller, submitted_by, created_at)
        select i.id, i.client, i.kind, i.workflow, i.envelope ->> 'platform', i.envelope ->> 'account_id',
            i.envelope ->> 'session_id', i.envelope ->> 'correlation_id', i.key, i.priority, i.not_before, i.deadline,
            i.envelope -> 'policy', i.input, i.trace_id, i.envelope ->> 'caller', i.submitter, at
        from i),
    l as (
        insert into fermata.live (id, client_id, workflow, state, priority, epoch, deliveries, node, ready_at, due, deadline,
            wait_reason)
        select i.id, i.client, i.workflow, i.state, i.priority, (i.state = 1)::int4, (i.state = 1)::int4,
            case when i.state = 1 then holder end, at, case when i.state = 2 then i.not_before end, i.deadline,
            case when i.state = 2 then 'timer' end
        from i)
    select array_agg(i.id), array_agg(i.client), array_agg(i.deadline), array_agg(i.kind), array_agg(i.input),
           array_agg(i.envelope ->> 'account_id'), array_agg(i.trace_id), array_agg(i.envelope ->> 'caller')
        into begun, owners, deadlines, begun_kinds, begun_inputs, accounts, traces, callers from i where i.state = 1;
end $$;

-- As in 0017, but that every row is reached by its key (0020), for what begins at once, and for what one command alone does not need.
create or replace function commit(
    at timestamptz,
    ac_ids uuid[] default null, ac_clients text[] default null, ac_kinds text[] default null, ac_workflows text[] default null,
    ac_inputs jsonb[] default null, ac_envelopes jsonb[] default null, ac_keys text[] default null,
    ac_fingerprints text[] default null, ac_trace_ids text[] default null, ac_submitters text[] default null,
    holder uuid default null, slots int4 default 0, hosted text[] default '{}', after text default '', max_deliveries int4 default 5,
    ids uuid[] default null, clients text[] default null, kinds int2[] default null, epochs int4[] default null,
    seqs int4[] default null, nexts int4[] default null, inboxes int4[] default null, generations int4[] default null,
    dues timestamptz[] default null, words text[] default null, bodies jsonb[] default null,
    st_ord int4[] default null, st_key text[] default null, st_attempt int2[] default null, st_kind int2[] default null,
    st_beside boolean[] default null, st_hash text[] default null, st_output jsonb[] default null,
    st_error jsonb[] default null, st_started timestamptz[] default null,
    ev_ord int4[] default null, ev_client text[] default null, ev_run uuid[] default null, ev_type text[] default null,
    ev_severity int2[] default null, ev_data jsonb[] default null,
    locks uuid[] default null, rare jsonb default null, audits jsonb default null, signals jsonb default null,
    again boolean default false
) returns table (
    applied int4[], seen int4[], cancels boolean[], refused jsonb, known jsonb, sent text[], head int8,
    id uuid, client_id text, epoch int4, seq int4, generation int4, inbox int4, deliveries int2, cancel boolean,
    deadline timestamptz, parent_id uuid, kind text, input jsonb, account_id text, trace_id text, caller text, created_at timestamptz, history jsonb
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_material = off set enable_bitmapscan = off as $$
declare
    born    uuid[];
    whose   text[];
    claimed uuid[] := '{}';
    begun   record;   -- new commands that begin at once
    spare   int4 := 0;
    exhausted boolean;
    lowest  uuid;
    highest uuid;
    max_records constant int4 := 64;       -- of a run whose record comes with its claim
    max_bytes   constant int4 := 65536;
    signal jsonb;
    went   record;
begin
    -- Locks in one order: kill switches, keys, live rows by id, intents by key, positions.
    if rare is not null and rare @? '$[*] ? (@.op == "attempt")' then
        perform pg_advisory_xact_lock_shared(fermata.switch_lock());
    end if;
    if ac_ids is not null then
        born := ac_ids;
        if cardinality(array_remove(ac_keys, null)) > 0 then
            select * into born, known from fermata.keep_keys(at, ac_ids, ac_clients, ac_keys, ac_fingerprints);
        end if;
        if again then
            born := array(select b.id from unnest(born) with ordinality b(id, n)
                          where not exists (select 1 from fermata.run r where r.id = b.id) order by b.n);
        end if;
        if cardinality(born) = cardinality(ac_ids) then
            whose := ac_clients;
        else
            whose := array(select i.client from unnest(ac_ids, ac_clients) with ordinality i(id, client, n)
                           where i.id = any (born) order by i.n);
        end if;
    end if;
    if locks is not null then
        perform 1 from (select x from unnest(locks) x order by x) t
            join fermata.live l on l.id between t.x and t.x for no key update of l;
    end if;
    if ids is not null then
        select * into ev_client, ev_run, ev_type, ev_severity, ev_data, audits, applied, seen, cancels, refused
            from fermata.write(at, ids, clients, kinds, epochs, seqs, nexts, inboxes, generations, dues, words, bodies,
                st_ord, st_key, st_attempt, st_kind, st_beside, st_hash, st_output, st_error, st_started,
                ev_ord, ev_client, ev_run, ev_type, ev_severity, ev_data, rare, audits);
    end if;
    if cardinality(born) > 0 then
        ev_client := whose || ev_client;
        ev_run := born || ev_run;
        ev_type := array_fill('status.changed'::text, array[cardinality(born)]) || ev_type;
        ev_severity := array_fill(1::int2, array[cardinality(born)]) || ev_severity;
        ev_data := array_fill('{"from": null, "to": "QUEUED", "version": 0}'::jsonb, array[cardinality(born)]) || ev_data;
    end if;
    if signals is not null then
        for signal in select e from jsonb_array_elements(signals) e loop
            select * into went from fermata.leave_signal(at, (signal ->> 'id')::uuid, (signal ->> 'run')::uuid, signal ->> 'client',
                signal ->> 'name', signal -> 'payload', signal ->> 'actor');
            sent := sent || went.word;
            if went.word in ('applied', 'held') then
                ev_client := ev_client || went.owner;
                ev_run := ev_run || (signal ->> 'run')::uuid;
                ev_type := ev_type || 'signal.received'::text;
                ev_severity := ev_severity || 1::int2;
                ev_data := ev_data || jsonb_build_object('signal_id', signal ->> 'id', 'name', signal ->> 'name');
            end if;
        end loop;
    end if;
    if holder is not null then
        -- Held to the commit, so that the node is not taken for dead, and forgotten, meanwhile.
        perform 1 from fermata.node h where h.id = holder for key share;
        if not found then
            holder := null;
        end if;
    end if;
    if holder is not null then
        select * into claimed, ev_client, ev_run, ev_type, ev_severity, ev_data, exhausted
            from fermata.claim(at, holder, slots, hosted, after, max_deliveries, claimed, ev_client, ev_run, ev_type, ev_severity, ev_data);
        if exhausted then
            spare := slots - cardinality(claimed);
        end if;
    end if;
    if cardinality(born) > 0 then
        select * into begun from fermata.accept(at, ac_ids, ac_clients, ac_kinds, ac_workflows, ac_inputs, ac_envelopes,
            ac_keys, ac_trace_ids, ac_submitters, born, holder, spare, hosted);
        if begun.begun is not null then
            ev_client := ev_client || begun.owners;
            ev_run := ev_run || begun.begun;
            ev_type := ev_type || array_fill('status.changed'::text, array[cardinality(begun.begun)]);
            ev_severity := ev_severity || array_fill(1::int2, array[cardinality(begun.begun)]);
            ev_data := ev_data || array_fill('{"from": "QUEUED", "to": "RUNNING", "version": 0}'::jsonb, array[cardinality(begun.begun)]);
            -- Everything of a run that has just been accepted is here: nothing is read again.
            return query
                select null::int4[], null::int4[], null::boolean[], null::jsonb, null::jsonb, null::text[], null::int8,
                       t.id, t.client, 1, 0, 0, 0, 1::int2, false, t.deadline, null::uuid,
                       t.kind, t.input, t.account, t.trace, t.caller, at, null::jsonb
                from unnest(begun.begun, begun.owners, begun.deadlines, begun.begun_kinds, begun.begun_inputs, begun.accounts,
                            begun.traces, begun.callers) t(id, client, deadline, kind, input, account, trace, caller);
        elsif spare > 0 then
            select * into claimed, ev_client, ev_run, ev_type, ev_severity, ev_data, exhausted
                from fermata.claim(at, holder, spare, hosted, after, max_deliveries, claimed, ev_client, ev_run, ev_type, ev_severity, ev_data);
        end if;
    end if;
    if cardinality(claimed) > 0 then
        -- The partitions that cannot hold any of them are left out once, and not for each.
        if cardinality(claimed) = 1 then
            lowest := claimed[1];
            highest := claimed[1];
        else
            lowest := (select x from unnest(claimed) x order by x limit 1);
            highest := (select x from unnest(claimed) x order by x desc limit 1);
        end if;
        return query
            select null::int4[], null::int4[], null::boolean[], null::jsonb, null::jsonb, null::text[], null::int8,
                   l.id, l.client_id, l.epoch, l.seq, l.generation, l.inbox, l.deliveries, l.cancel, l.deadline, l.parent_id,
                   r.kind, coalesce(v.input, r.input), r.account_id, r.trace_id, r.caller, r.created_at,
                   case when (l.seq > 0 or l.inbox > 0 or l.deliveries > 1) and l.seq <= max_records
                        then fermata.short_history(l.id, l.generation, max_bytes) end
            from unnest(claimed) t(run_id)
            join fermata.live l on l.id between t.run_id and t.run_id
            join fermata.run r on r.id between t.run_id and t.run_id and r.id between lowest and highest
            left join fermata.renewal v on v.run_id between t.run_id and t.run_id and v.generation = l.generation;
    end if;
    -- Last, because everybody else waits for the positions until this is durable.
    head := fermata.append(at, ev_client, ev_run, ev_type, ev_severity, ev_data, audits);
    return next;
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
