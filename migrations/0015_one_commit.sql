-- The write path in one commit and without joins.
--
-- A batch was up to three transactions: new commands, records, and the claim of runs. Now it is one (`commit`, below).
--
-- What a batch costs grows with its records, and not with their square.
-- Until now the planner, which knows nothing of how long an array is, joined arrays and rows in nested loops: 97,556
-- comparisons for a batch of 256 records against 382 runs in flight. Every array now carries what its rows need, and
-- `live` can be reached by its key alone.

set local search_path = fermata, pg_temp;

drop function accept(timestamptz, uuid[], text[], text[], text[], jsonb[], jsonb[], text[], text[], text[], text[]);

-- Accepts commands. Answers those that are new, with their clients, and of each other one its number, the command
-- that its key belongs to, and whether that is the same.
create function accept(
    at timestamptz, ids uuid[], clients text[], kinds text[], workflows text[], inputs jsonb[], envelopes jsonb[],
    keys text[], fingerprints text[], trace_ids text[], submitters text[], out born uuid[], out whose text[], out known jsonb
) language plpgsql as $$
declare
    n   int4 := cardinality(ids);
    won uuid[];   -- whose keys are new
begin
    if cardinality(array_remove(keys, null)) > 0 then
        with k as (
            insert into fermata.idempotency (client_id, family, key, fingerprint, run_id, created_at)
            select i.client, 'commands', i.key, i.fingerprint, i.id, at
            from unnest(ids, clients, keys, fingerprints) i(id, client, key, fingerprint) where i.key is not null
            on conflict do nothing returning idempotency.run_id as id)
        select coalesce(array_agg(k.id), '{}') into won from k;
    end if;
    with r as (
        insert into fermata.run (id, client_id, kind, workflow, platform, account_id, session_id, correlation_id,
            idempotency_key, priority, not_before, deadline, policy, input, trace_id, caller, submitted_by, created_at)
        select i.id, i.client, i.kind, i.workflow, i.envelope ->> 'platform', i.envelope ->> 'account_id',
            i.envelope ->> 'session_id', i.envelope ->> 'correlation_id', i.key,
            coalesce((i.envelope ->> 'priority')::int2, 5), (i.envelope ->> 'not_before')::timestamptz,
            (i.envelope ->> 'deadline')::timestamptz, i.envelope -> 'policy', i.input, i.trace_id,
            i.envelope ->> 'caller', i.submitter, at
        from unnest(ids, clients, kinds, workflows, inputs, envelopes, keys, trace_ids, submitters)
            i(id, client, kind, workflow, input, envelope, key, trace_id, submitter)
        where i.key is null or i.id = any (won)
        on conflict do nothing returning run.id)
    select coalesce(array_agg(r.id), '{}') into born from r;

    insert into fermata.live (id, client_id, workflow, state, priority, ready_at, due, deadline, wait_reason)
        select i.id, i.client, i.workflow, case when i.later > at then 2 else 0 end,
            coalesce((i.envelope ->> 'priority')::int2, 5), at, case when i.later > at then i.later end,
            (i.envelope ->> 'deadline')::timestamptz, case when i.later > at then 'timer' end
        from (select t.*, (t.envelope ->> 'not_before')::timestamptz as later
              from unnest(ids, clients, workflows, envelopes) t(id, client, workflow, envelope)) i
        where cardinality(born) = n or i.id = any (born);

    whose := clients;
    if cardinality(born) < n then
        select jsonb_agg(jsonb_build_object('ord', i.n, 'run_id', d.run_id, 'same', d.fingerprint = i.fingerprint)) into known
            from unnest(ids, clients, keys, fingerprints) with ordinality i(id, client, key, fingerprint, n)
            join fermata.idempotency d on d.client_id = i.client and d.family = 'commands' and d.key = i.key
            where not i.id = any (born);
        select coalesce(array_agg(i.id order by i.n), '{}'), coalesce(array_agg(i.client order by i.n), '{}') into born, whose
            from unnest(ids, clients) with ordinality i(id, client, n) where i.id = any (born);
    else
        born := ids;
    end if;
end $$;

drop function claim(timestamptz, uuid, int4, text[], text, int4);

-- Claims as in 0014. Answers what is to be carried, and the events of it.
create function claim(
    at timestamptz, holder uuid, slots int4, hosted text[], after text, max_deliveries int4, out claimed uuid[],
    out ev_client text[], out ev_run uuid[], out ev_type text[], out ev_severity int2[], out ev_data jsonb[]
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
            from picked where l.id = picked.picked_id returning l.id, l.client_id, l.seq, l.cancel, picked.reason)
        select array_agg(moved.id) as ids, array_agg(moved.client_id) as clients, array_agg(moved.seq) as seqs, array_agg(case
            when moved.cancel then 'CANCELLING' when reason is null then 'QUEUED' when reason in ('approval', 'takeover') then 'HUMAN_REQUIRED'
            when reason = 'external_poll' then 'POLLING' else 'WAITING' end) as words into got from moved;
        taken := taken || coalesce(got.ids, '{}');
        words := words || coalesce(got.words, '{}');
        whose := whose || coalesce(got.clients, '{}');
        seqs := seqs || coalesce(got.seqs, '{}');
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
    claimed := case when parked is null then taken else array(select t from unnest(taken) t where not t = any (parked)) end;
    ev_client := whose;
    ev_run := taken;
    ev_type := array_fill('status.changed'::text, array[cardinality(taken)]);
    ev_severity := array_fill(1::int2, array[cardinality(taken)]);
    select array_agg(jsonb_build_object('from', t.word, 'to',
            case when parked is not null and t.run_id = any (parked) then 'HUMAN_REQUIRED'
                 when t.word = 'CANCELLING' then 'CANCELLING' else 'RUNNING' end, 'version', t.seq) order by t.n) into ev_data
         from unnest(taken, words, seqs) with ordinality t(run_id, word, seq, n);
    if asked is not null then
        ev_client := ev_client || owners;
        ev_run := ev_run || asked;
        ev_type := ev_type || array_fill('human.required'::text, array[cardinality(asked)]);
        ev_severity := ev_severity || array_fill(2::int2, array[cardinality(asked)]);
        ev_data := ev_data || (select array_agg(jsonb_build_object('gate_id', g.id, 'kind', 'takeover', 'reason', 'poison',
                'expires_at', null, 'url', '/v1/gates/' || g.id) order by g.n) from unnest(gates) with ordinality g(id, n));
    end if;
end $$;

drop function write(timestamptz, uuid[], text[], int2[], int4[], int4[], int4[], int4[], timestamptz[], text[], jsonb[],
    int4[], text[], int2[], int2[], boolean[], text[], jsonb[], jsonb[], timestamptz[],
    int4[], text[], int2[], jsonb[], uuid[], jsonb, jsonb);

-- Writes records of lease holders, at most one per run, sorted by run, whose rows are locked if need be. Kinds: 0 advance, 1 suspend,
-- 2 hand back, 3 finish. Answers which ordinals were applied (with the inbox counter and the cancel flag of their
-- runs), why the others were not, and the events and audit rows of what was applied.
--
-- `live.state + 0` hides the condition from the partial indexes on `state`, and the settings leave nothing but the walk
-- from a record to its row by the key: a plan made while the table was empty stays right when it is full.
create function write(
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
        where i.kind <= 2 and l.id = i.id and l.state + 0 = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
        returning i.ord, l.inbox, l.cancel),
    d as (
        delete from fermata.live l using i
        where i.kind = 3 and l.id = i.id and l.state + 0 = 1 and l.epoch = i.epoch and l.seq = i.seq and l.client_id = i.client
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

drop function send_signal(timestamptz, uuid, uuid, text, text, jsonb, text);

-- Leaves a signal for a run, of that client or (`*`) of any. Answers the run's client and how that went: `applied`;
-- `held`, if the run is in some node's hands; `replayed`, `ended`, `missing`.
create function leave_signal(at timestamptz, signal uuid, run uuid, client text, signal_name text, body jsonb, actor text,
    out owner text, out word text) language plpgsql as $$
declare
    was int2;
begin
    select l.client_id, l.state into owner, was from fermata.live l
        where l.id = run and (client = '*' or l.client_id = client) for no key update;
    if not found then
        word := case when exists (select 1 from fermata.outcome o where o.id = run and (client = '*' or o.client_id = client))
                     then 'ended' else 'missing' end;
        return;
    end if;
    insert into fermata.signal (id, run_id, client_id, name, payload, sent_by, sent_at)
        values (signal, run, owner, signal_name, body, actor, at) on conflict do nothing;
    if not found then
        word := 'replayed';
        return;
    end if;
    perform fermata.knock(at, array[run]);
    word := case when was = 1 then 'held' else 'applied' end;
end $$;

-- One batch, one transaction: new commands, then records of lease holders, then signals, then a claim, which also finds
-- what they have just made ready. Each part is there when its ids (or the holder) are. Positions are given once, at the
-- end. The first row answers all but the claim, each further row is a claimed run.
--
-- The settings hold for everything that is called from here: plans are made once, and nothing but walks by a key is
-- left to choose from.
create function commit(
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
    locks uuid[] default null, rare jsonb default null, audits jsonb default null, signals jsonb default null
) returns table (
    applied int4[], seen int4[], cancels boolean[], refused jsonb, known jsonb, sent text[], head int8,
    id uuid, client_id text, epoch int4, seq int4, generation int4, inbox int4, deliveries int2, cancel boolean,
    deadline timestamptz, parent_id uuid, kind text, input jsonb, account_id text, trace_id text, caller text, created_at timestamptz
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_material = off set enable_bitmapscan = off as $$
declare
    born    uuid[];
    whose   text[];
    claimed uuid[];
    lowest  uuid;
    highest uuid;
    more_client   text[];
    more_run      uuid[];
    more_type     text[];
    more_severity int2[];
    more_data     jsonb[];
    signal jsonb;
    went   record;
begin
    -- Locks in one order: kill switches, keys, live rows by id, intents by key, positions.
    if rare is not null and rare @? '$[*] ? (@.op == "attempt")' then
        perform pg_advisory_xact_lock_shared(fermata.switch_lock());
    end if;
    if ac_ids is not null then
        select * into born, whose, known from fermata.accept(at, ac_ids, ac_clients, ac_kinds, ac_workflows, ac_inputs, ac_envelopes,
            ac_keys, ac_fingerprints, ac_trace_ids, ac_submitters);
    end if;
    if locks is not null then
        perform 1 from (select 1 from fermata.live l where l.id = any (locks) order by l.id for no key update) held;
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
        select * into claimed, more_client, more_run, more_type, more_severity, more_data
            from fermata.claim(at, holder, slots, hosted, after, max_deliveries);
        ev_client := ev_client || more_client;
        ev_run := ev_run || more_run;
        ev_type := ev_type || more_type;
        ev_severity := ev_severity || more_severity;
        ev_data := ev_data || more_data;
    end if;
    head := fermata.append(at, ev_client, ev_run, ev_type, ev_severity, ev_data, audits);
    return next;
    if cardinality(claimed) > 0 then
        -- The partitions that cannot hold any of them are left out once, and not for each.
        lowest := (select x from unnest(claimed) x order by x limit 1);
        highest := (select x from unnest(claimed) x order by x desc limit 1);
        return query
            select null::int4[], null::int4[], null::boolean[], null::jsonb, null::jsonb, null::text[], null::int8,
                   l.id, l.client_id, l.epoch, l.seq, l.generation, l.inbox, l.deliveries, l.cancel, l.deadline, l.parent_id,
                   r.kind, coalesce(v.input, r.input), r.account_id, r.trace_id, r.caller, r.created_at
            from unnest(claimed) t(run_id)
            join fermata.live l on l.id = t.run_id
            join fermata.run r on r.id = t.run_id and r.id between lowest and highest
            left join fermata.renewal v on v.run_id = l.id and v.generation = l.generation;
    end if;
end $$;

-- What follows was written in SQL, and planned anew with every call.

create or replace function knock(at timestamptz, runs uuid[]) returns void language plpgsql as $$
begin
    update fermata.live set inbox = inbox + 1, state = case when state = 2 then 0 else state end,
        due = case when state = 2 then null else due end, ready_at = case when state = 2 then at else ready_at end
    where id = any (runs);
end $$;

-- As in 0007; children are looked for in every partition of `outcome`, and only where there are some.
create or replace function mailbox(run uuid, gen int4) returns jsonb language plpgsql stable as $$
declare
    child_step constant int2 := 6;
    children   jsonb := '[]';
begin
    if exists (select 1 from fermata.step s where s.run_id = run and s.kind = child_step) then
        select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'status', o.status, 'result', o.result,
            'error', o.error)), '[]') into children from fermata.outcome o where o.parent_id = run;
    end if;
    return jsonb_build_object(
        'signals', (select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'name', s.name, 'payload', s.payload)
                    order by s.sent_at, s.id), '[]') from fermata.signal s where s.run_id = run and s.consumed_by is null),
        'gates', (select coalesce(jsonb_agg(to_jsonb(g) order by g.opened_at, g.id), '[]')
                  from fermata.gate g where g.run_id = run and g.generation = gen),
        'children', children);
end $$;

create or replace function history(run uuid, gen int4) returns jsonb language plpgsql stable as $$
begin
    return fermata.mailbox(run, gen) || jsonb_build_object(
        'steps', (select coalesce(jsonb_agg(jsonb_build_object('key', s.key, 'attempt', s.attempt, 'kind', s.kind,
                  'beside', s.beside, 'input_hash', s.input_hash, 'output', s.output, 'error', s.error)
                  order by s.seq, s.attempt), '[]') from fermata.step s where s.run_id = run and s.generation = gen),
        'actions', (select coalesce(jsonb_agg(to_jsonb(a) order by a.created_at, a.id), '[]')
                    from fermata.action a where a.run_id = run));
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
