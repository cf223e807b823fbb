-- A run that is put away to wait for a call of its account to end looks once more whether one has: whoever ended it found
-- the run's row locked by the records before, and passed it over. And looks since nobody knows what became of an action are
-- counted by themselves: how many there are to be is up to its policy (S-056).

set local search_path = fermata, pg_temp;

alter table action add column doubts int4 not null default 0;   -- looks in `unknown`

-- As in 0029, but that a run that waits locks its account too.
create or replace function lock_rationed(at timestamptz, rare jsonb) returns void language plpgsql as $$
declare
    r record;
begin
    for r in
        select a.client, a.platform, a.account, bool_or(a.counts) as counts from (
            select e.x ->> 'client_id', e.x ->> 'platform', e.x ->> 'account_id', e.x ? 'concurrency'
                from jsonb_array_elements(rare) e(x)
                where e.x ->> 'op' in ('throttled', 'troubled', 'queue') or e.x ->> 'op' = 'attempt' and e.x ? 'heads'
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

-- As in 0029, with `queue`, and a look in `unknown` is one of `doubts` too.
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
    when 'queue' then
        if fermata.rationed(at, x, 0) -> 'wait' ->> 'rule' is distinct from 'concurrency' then
            delete from fermata.queued_call q where q.run_id = (x ->> 'run_id')::uuid;
            perform fermata.knock(at, array[(x ->> 'run_id')::uuid]);
        end if;
    when 'look' then
        update fermata.action set looks = looks + 1, doubts = doubts + (state = 'unknown')::int4, updated_at = at
            where id = (x ->> 'action_id')::uuid;
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

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
