-- The parts of a batch are applied together (design, section 4): a statement for all of a kind costs little more than for one,
-- and most of what a part cost was beginning a statement.

set local search_path = fermata, pg_temp;

-- A function in `sql` is parsed each time that it is called from elsewhere; one in `plpgsql` once for each connection.
create or replace function stopped_by(client text, account text) returns text language plpgsql stable as $$
begin
    return (select k.scope from fermata.kill_switch k
        where k.engaged and k.client_id in ('*', client) and k.account_id in ('*', account)
        order by k.account_id <> '*', k.client_id <> '*', k.scope limit 1);
end $$;
create or replace function connected_as(client text, platform_ text, account text) returns text language plpgsql stable as $$
begin
    return (select p.fingerprint ->> 'id' from fermata.platform_account p
        where p.client_id = client and p.platform = platform_ and p.account_id = account);
end $$;

-- As in 0026, but that it reads an action by its key, whatever the planner was told: with `=` it walked over all of them for each
-- move, once they had been analysed while there were none.
create or replace function lock_rationed(at timestamptz, rare jsonb) returns void language plpgsql as $$
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
                join fermata.action d on d.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid where e.x ->> 'op' = 'move'
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
                join fermata.action d on d.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid
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

-- What an action is judged by, in one look: the kill switch that is on, how its account stands, and the policies, the widest
-- first.
create function basis(client text, platform_ text, account text, out switch text, out mode text, out reason text, out known text,
                      out policies jsonb) language plpgsql stable as $$
begin
    switch := fermata.stopped_by(client, account);
    select p.mode, p.reason, p.fingerprint ->> 'id' into mode, reason, known from fermata.platform_account p
        where p.client_id = client and p.platform = platform_ and p.account_id = account;
    policies := (select jsonb_agg(jsonb_build_object('scope', p.scope, 'version', p.version, 'document', p.document)
                     order by h.account_id <> '*', h.client_id <> '*', h.platform <> '*')
        from fermata.policy_head h join fermata.policy p on p.scope = h.scope and p.version = h.version
        where h.client_id in ('*', client) and h.platform in ('*', platform_) and h.account_id in ('*', account));
end $$;

drop function prove(timestamptz, jsonb, text, jsonb);

-- Keeps proofs of actions: of each part what it says, or of an attempt, what it is called.
create function prove(at timestamptz, parts jsonb) returns void language plpgsql as $$
begin
    insert into fermata.proof (client_id, run_id, action_id, kind, body, created_at)
    select a.client_id, a.run_id, a.id, coalesce(e.x ->> 'kind', 'request'),
        case when e.x ? 'kind' then e.x -> 'body' else jsonb_build_object('request_id', e.x -> 'attempt_id') end, at
    from jsonb_array_elements(parts) with ordinality e(x, n)
    join fermata.action a on a.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid order by e.n;
end $$;

-- The intent of a plan. By its key, whatever the planner was told of the table (`tests/tests/plans.rs`).
create function intent_of(x jsonb) returns setof fermata.intent language plpgsql stable as $$
begin
    return query select i.* from fermata.intent i where i.client_id = x ->> 'client_id' and i.key = x ->> 'intent_key';
end $$;

create function apply_plans(at timestamptz, parts jsonb) returns void language plpgsql as $$
begin
    insert into fermata.policy_snapshot (client_id, hash, document, created_at)
        select distinct on (e.x ->> 'client_id', e.x ->> 'policy_hash')
            e.x ->> 'client_id', e.x ->> 'policy_hash', e.x -> 'policy', at
        from jsonb_array_elements(parts) e(x) where e.x ? 'policy' order by 1, 2 on conflict do nothing;
    insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type, platform,
        account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at)
    select (e.x ->> 'action_id')::uuid, i.id, (e.x ->> 'run_id')::uuid, i.client_id, e.x ->> 'step_key',
        1 + (select count(*) from fermata.action a where a.intent_id = i.id), 'queued', e.x -> 'spec' ->> 'action_type',
        e.x -> 'spec' ->> 'platform', e.x -> 'spec' ->> 'account_id', e.x -> 'spec' ->> 'lane', e.x ->> 'idempotency_key',
        e.x ->> 'payload_hash', e.x ->> 'policy_hash', e.x -> 'verdict', (e.x ->> 'epoch')::int4, at, at
    from jsonb_array_elements(parts) e(x) cross join lateral fermata.intent_of(e.x) i;
    update fermata.action a set state = case when t.allowed then 'preflight_passed' else 'blocked' end,
        effect = case when t.allowed then a.effect else false end
        from (select (e.x ->> 'action_id')::uuid, (e.x -> 'verdict' ->> 'allowed')::boolean
              from jsonb_array_elements(parts) e(x)) t(id, allowed)
        where a.id between t.id and t.id;
    update fermata.intent i set current_action = t.action, repeat_allowed = false
        from (select (e.x ->> 'action_id')::uuid, k.id from jsonb_array_elements(parts) e(x)
              cross join lateral fermata.intent_of(e.x) k) t(action, id)
        where i.id between t.id and t.id;
end $$;

-- An attempt is the first proof of its action, and its level. `identity` says which id was known when the platform was asked,
-- and which it gave; an account that was connected since then is asked about again.
create function apply_attempts(at timestamptz, parts jsonb) returns void language plpgsql as $$
declare
    touched int4;
begin
    update fermata.action a set state = 'identity_verified', identity = t.seen,
        identity_ok = t.seen = fermata.connected_as(a.client_id, a.platform, a.account_id)
        from (select (e.x ->> 'action_id')::uuid, e.x ? 'identity', e.x -> 'identity' ->> 'known',
                  e.x -> 'identity' ->> 'seen' from jsonb_array_elements(parts) e(x)) t(id, asked, known, seen)
        where a.id between t.id and t.id
            and (not t.asked or t.known is not distinct from fermata.connected_as(a.client_id, a.platform, a.account_id));
    get diagnostics touched = row_count;
    if touched <> jsonb_array_length(parts) then
        raise exception 'there is no such action to attempt, or its account was connected meanwhile' using errcode = 'check_violation';
    end if;
    perform fermata.prove(at, parts);
    update fermata.action a set state = 'attempted', attempt_id = (e.x ->> 'attempt_id')::uuid, level = 1,
        epoch = (e.x ->> 'epoch')::int4, call_deadline = (e.x ->> 'call_deadline')::timestamptz, updated_at = at,
        tokens = (select jsonb_agg(jsonb_build_object('key', t.x -> 'key', 'n', t.x -> 'n',
                         'starts', fermata.window_start(at, (t.x ->> 'window_s')::int8)))
                  from jsonb_array_elements(e.x -> 'tokens') t(x))
        from jsonb_array_elements(parts) e(x)
        where a.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid;
end $$;

-- Moves actions. Only an attempt leads to `attempted`.
create function apply_moves(at timestamptz, parts jsonb) returns void language plpgsql as $$
declare
    touched int4;
begin
    update fermata.action a set state = e.x ->> 'state', effect = coalesce((e.x ->> 'effect')::boolean, a.effect),
        receipt = coalesce(e.x -> 'receipt', a.receipt), error = coalesce(e.x -> 'error', a.error),
        looks = a.looks + coalesce((e.x ->> 'looks')::int4, 0),
        level = greatest(a.level, coalesce((e.x ->> 'level')::int2, 0)), updated_at = at
        from jsonb_array_elements(parts) e(x)
        where a.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid
            and e.x ->> 'state' not in ('identity_verified', 'attempted');
    get diagnostics touched = row_count;
    if touched <> jsonb_array_length(parts) then
        raise exception 'there is no such action to move, or only an attempt leads there' using errcode = 'check_violation';
    end if;
end $$;

-- Applies the parts of the records of a batch that are `applied`: of each record one after the other, the n-th of all of them
-- together. Those of one turn are about different runs, and so about different actions.
create function apply_parts(at timestamptz, rare jsonb, applied int4[]) returns void language plpgsql as $$
declare
    turn record;
    x    jsonb;
begin
    for turn in
        select p.nth, p.x ->> 'op' as op, jsonb_agg(p.x order by p.n) as parts from (
            select e.x, e.n, row_number() over (partition by e.x ->> 'ord' order by e.n) as nth
            from jsonb_array_elements(rare) with ordinality e(x, n) where (e.x ->> 'ord')::int4 = any (applied)) p
        group by 1, 2 order by 1, 2
    loop
        case turn.op
        when 'plan' then
            perform fermata.apply_plans(at, turn.parts);
        when 'attempt' then
            perform fermata.apply_attempts(at, turn.parts);
        when 'move' then
            perform fermata.apply_moves(at, turn.parts);
        when 'prove' then
            perform fermata.prove(at, turn.parts);
        when 'answered' then
            update fermata.action a set answer = e.x -> 'answer', looks = a.looks + 1, updated_at = at
                from jsonb_array_elements(turn.parts) e(x)
                where a.id between (e.x ->> 'action_id')::uuid and (e.x ->> 'action_id')::uuid and a.state = 'attempted';
        else
            for x in select e.x from jsonb_array_elements(turn.parts) with ordinality e(x, n) order by e.n loop
                perform fermata.apply_rare(at, x);
            end loop;
        end case;
    end loop;
end $$;

-- As in 0027, for the parts that few batches have.
create or replace function apply_rare(at timestamptz, x jsonb) returns void language plpgsql as $$
declare
    touched int4;
begin
    case x ->> 'op'
    when 'resend' then
        if exists (select 1 from fermata.platform_account p
                   join fermata.action a on a.client_id = p.client_id and a.platform = p.platform and a.account_id = p.account_id
                   where a.id = (x ->> 'action_id')::uuid and p.mode <> 'normal') then
            raise exception 'nothing is sent again for an account that is not in normal mode' using errcode = 'check_violation';
        end if;
        update fermata.action set resends = resends + 1, attempt_id = (x ->> 'attempt_id')::uuid,
            epoch = (x ->> 'epoch')::int4, call_deadline = (x ->> 'call_deadline')::timestamptz, updated_at = at
            where id = (x ->> 'action_id')::uuid and state = 'attempted';
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'only an attempted action is sent again' using errcode = 'check_violation';
        end if;
        perform fermata.prove(at, jsonb_build_array(x));
    when 'throttled' then
        perform fermata.throttle(at, x);
    when 'troubled' then
        perform fermata.trouble(at, x);
    when 'look' then
        update fermata.action set looks = looks + 1, updated_at = at where id = (x ->> 'action_id')::uuid;
    when 'allow_repeat' then
        update fermata.intent set repeat_allowed = true where current_action = (x ->> 'action_id')::uuid
            and fermata.may_repeat((x ->> 'action_id')::uuid);
        get diagnostics touched = row_count;
        if touched <> 1 then
            raise exception 'action % cannot be repeated', x ->> 'action_id' using errcode = 'check_violation';
        end if;
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

drop function verify_identity(jsonb);

-- As in 0019, but that the parts are applied together.
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
        perform fermata.apply_parts(at, rare, applied);
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

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
