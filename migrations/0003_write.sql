-- The one write path: one call is one transaction in one round trip (design, section 4).
--
-- Locks in one fixed order: kill switches (shared), live rows by id, intents by key, position last.
-- Every statement in a function sees a fresh snapshot, which is what `attempted` needs.

set local search_path = fermata, pg_temp;

-- Appends events and audit rows at the next positions. Always the last statement of a transaction:
-- the counter row is locked from here to the commit, so positions are dense and in commit order.
create function append(
    at timestamptz, clients text[], runs uuid[], types text[], severities int2[], datas jsonb[], audits jsonb
) returns int8 language plpgsql as $$
declare
    n    int4 := coalesce(array_length(types, 1), 0);
    m    int4 := case when audits is null then 0 else jsonb_array_length(audits) end;
    base record;
begin
    if n + m = 0 then
        return null;
    end if;
    update fermata.position set event = event + n, audit = audit + m
        returning event - n as event, audit - m as audit into base;
    insert into fermata.event (position, at, client_id, run_id, type, severity, data)
        select base.event + e.ord, at, e.client, e.run, e.type, e.severity, e.data
        from unnest(clients, runs, types, severities, datas) with ordinality e(client, run, type, severity, data, ord);
    if m > 0 then
        insert into fermata.audit (position, at, client_id, run_id, action_id, actor, phase, body)
            select base.audit + a.ord, at, a.x ->> 'client_id', (a.x ->> 'run_id')::uuid,
                   (a.x ->> 'action_id')::uuid, a.x ->> 'actor', a.x ->> 'phase', a.x -> 'body'
            from jsonb_array_elements(audits) with ordinality a(x, ord);
    end if;
    return base.event + n;
end $$;

-- Accepts commands. Answers one row per refused or replayed input; the others were accepted.
create function accept(
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
            idempotency_key, priority, not_before, deadline, policy, input, trace_id, submitted_by, created_at)
        select w.id, w.client, w.kind, w.workflow, w.envelope ->> 'platform', w.envelope ->> 'account_id',
            w.envelope ->> 'session_id', w.envelope ->> 'correlation_id', w.key,
            coalesce((w.envelope ->> 'priority')::int2, 5), (w.envelope ->> 'not_before')::timestamptz,
            (w.envelope ->> 'deadline')::timestamptz, w.envelope -> 'policy', w.input, w.trace_id, w.submitter, at
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
create function accept_child(at timestamptz, parent uuid, client text, child jsonb) returns void language sql as $$
    insert into fermata.run (id, client_id, kind, workflow, correlation_id, priority, deadline, input, trace_id,
                             parent_id, submitted_by, created_at)
    select (child ->> 'id')::uuid, client, child ->> 'kind', child ->> 'workflow', p.correlation_id, p.priority,
           p.deadline, child -> 'input', p.trace_id, parent, p.submitted_by, at
    from fermata.run p where p.id = parent;
    insert into fermata.live (id, client_id, workflow, state, priority, ready_at, deadline, parent_id)
    select (child ->> 'id')::uuid, client, child ->> 'workflow', 0, p.priority, at, p.deadline, parent
    from fermata.run p where p.id = parent;
$$;

-- Judges the rare parts of holders' records before anything of them is written. Answers the
-- ordinals to refuse, with why. Intents are locked here, in the order given (sorted by key).
create function judge(at timestamptz, rare jsonb) returns jsonb language plpgsql as $$
declare
    r       record;
    planned fermata.intent;
    current fermata.action;
    verdict jsonb := '{}';
    switch  text;
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
        else
            select k.scope into switch from fermata.kill_switch k
                where k.engaged and k.scope in
                    ('global', 'client:' || (r.x ->> 'client_id'), 'account:' || (r.x ->> 'account_id'))
                order by k.scope limit 1;
            if switch is not null then
                verdict := verdict || jsonb_build_object(r.ord, jsonb_build_object('kill_switch', switch));
            end if;
        end if;
    end loop;
    return verdict;
end $$;

-- Applies one rare part of an applied record.
create function apply_rare(at timestamptz, x jsonb) returns void language plpgsql as $$
declare
    touched int4;
begin
    case x ->> 'op'
    when 'plan' then
        insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type, platform,
            account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at)
        select (x ->> 'action_id')::uuid, i.id, (x ->> 'run_id')::uuid, i.client_id, x ->> 'step_key',
            1 + (select count(*) from fermata.action a where a.intent_id = i.id), 'queued', x -> 'spec' ->> 'action_type',
            x -> 'spec' ->> 'platform', x -> 'spec' ->> 'account_id', x -> 'spec' ->> 'lane', x ->> 'idempotency_key',
            x ->> 'payload_hash', x ->> 'policy_hash', x -> 'verdict', (x ->> 'epoch')::int4, at, at
        from fermata.intent i where i.client_id = x ->> 'client_id' and i.key = x ->> 'intent_key';
        update fermata.action set state = 'preflight_passed' where id = (x ->> 'action_id')::uuid;
        update fermata.intent set current_action = (x ->> 'action_id')::uuid, repeat_allowed = false
            where client_id = x ->> 'client_id' and key = x ->> 'intent_key';
    when 'attempt' then
        update fermata.action set state = 'identity_verified' where id = (x ->> 'action_id')::uuid;
        update fermata.action set state = 'attempted', attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at
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

-- Writes a batch of records of lease holders, at most one record per run. Kinds:
-- 0 advance, 1 suspend, 2 hand back, 3 finish. Answers which ordinals were applied (with the
-- inbox counter and the cancel flag of their runs), and why the others were not.
create function write(
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
        returning i.ord, l.id, l.client_id, l.generation, l.epoch, l.seq, l.inbox, l.cancel, l.parent_id, i.word, i.body),
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
    return next;
end $$;

create function switch_lock() returns int8 language sql immutable as $$ select 7160000000000000001::int8 $$;

-- Why records were not applied: already applied (a resend), another client's run, or fenced.
create function classify(ids uuid[], clients text[], epochs int4[], nexts int4[], applied int4[], verdict jsonb)
returns jsonb language sql stable as $$
    select coalesce(jsonb_object_agg(i.ord::text, case
        when l.client_id <> i.client or o.client_id <> i.client then '{"outcome": "refused"}'::jsonb
        when l.epoch = i.epoch and l.seq >= i.next then '{"outcome": "replayed"}'::jsonb
        when l.id is null and o.epoch = i.epoch then '{"outcome": "replayed"}'::jsonb
        else '{"outcome": "fenced"}'::jsonb end), '{}')
    from unnest(ids, clients, epochs, nexts) with ordinality i(id, client, epoch, next, ord)
    left join fermata.live l on l.id = i.id
    left join fermata.outcome o on o.id = i.id
    where not i.ord = any (applied) and not verdict ? i.ord::text
$$;

-- Something arrived for these runs: count it, and ready those that wait.
create function knock(at timestamptz, runs uuid[]) returns void language sql as $$
    update fermata.live set inbox = inbox + 1, state = case when state = 2 then 0 else state end,
        due = case when state = 2 then null else due end, ready_at = case when state = 2 then at else ready_at end
    where id = any (runs)
$$;

set local search_path to default;
