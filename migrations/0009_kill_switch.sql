-- Kill switches bound to clients, and tripping one (S-057..059, Q-25; design, section 5).

set local search_path = fermata, pg_temp;

-- What a switch stops: '*' stands for every client and every account. An account belongs to a
-- client: another client's account of the same name is another account.
alter table kill_switch
    add column client_id  text not null default '*',
    add column account_id text not null default '*';
update kill_switch set client_id = substr(scope, 8) where scope like 'client:%';
update kill_switch set account_id = substr(scope, 9) where scope like 'account:%';

-- How a switch is called. An account's client is escaped, so that no two switches share a name.
create function switch_scope(client text, account text) returns text language sql immutable as $$
    select case
        when account <> '*' then 'account:' || replace(replace(client, '%', '%25'), '/', '%2F') || '/' || account
        when client <> '*' then 'client:' || client
        else 'global' end
$$;
update kill_switch set scope = switch_scope(client_id, account_id);
create unique index kill_switch_reach on kill_switch (client_id, account_id);

-- The switch that stops an account, the widest first; null when none does.
create function stopped_by(client text, account text) returns text language sql stable as $$
    select k.scope from fermata.kill_switch k
    where k.engaged and k.client_id in ('*', client) and k.account_id in ('*', account)
    order by k.account_id <> '*', k.client_id <> '*', k.scope limit 1
$$;

-- Turns a switch on or off, with its event and its audit row. Whoever writes `attempted` holds the
-- lock shared until its commit: when this commits, every attempt is either committed already, and
-- can be listed, or will see the switch.
create function turn_switch(client text, account text, wanted boolean, why text, who text)
returns setof kill_switch language plpgsql as $$
declare
    at  timestamptz;
    now_is fermata.kill_switch;
    told   jsonb;
begin
    perform pg_advisory_xact_lock(fermata.switch_lock());
    at := clock_timestamp();
    select * into now_is from fermata.kill_switch k where k.client_id = client and k.account_id = account;
    if now_is.engaged = wanted and now_is.reason = why then
        return next now_is;
        return;
    end if;
    insert into fermata.kill_switch as k (scope, client_id, account_id, engaged, reason, actor, changed_at)
        values (fermata.switch_scope(client, account), client, account, wanted, why, who, at)
        on conflict (scope) do update set engaged = wanted, reason = why, actor = who, changed_at = at,
            version = k.version + 1
        returning * into now_is;
    told := jsonb_build_object('scope', now_is.scope, 'engaged', wanted, 'reason', why, 'actor', who,
        'version', now_is.version, 'client_id', nullif(client, '*'), 'account_id', nullif(account, '*'));
    perform fermata.append(at, array[client], array[null::uuid], array['kill_switch.changed'],
        array[case when wanted then 2 else 1 end::int2], array[told],
        jsonb_build_array(jsonb_build_object('client_id', client, 'actor', who, 'phase', 'kill_switch', 'body', told)));
    return next now_is;
end $$;

-- As in 0003, but that a switch of an account stops that account of its client only.
create or replace function judge(at timestamptz, rare jsonb) returns jsonb language plpgsql as $$
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
            switch := fermata.stopped_by(r.x ->> 'client_id', r.x ->> 'account_id');
            if switch is not null then
                verdict := verdict || jsonb_build_object(r.ord, jsonb_build_object('kill_switch', switch));
            end if;
        end if;
    end loop;
    return verdict;
end $$;

-- A trip lists what is under way.
create index action_under_way on action (client_id, account_id) where state = 'attempted';

revoke execute on function switch_scope(text, text), stopped_by(text, text),
    turn_switch(text, text, boolean, text, text) from public;
grant execute on function switch_scope(text, text), stopped_by(text, text),
    turn_switch(text, text, boolean, text, text) to fermata_writer;

-- Everybody may see what stops everybody.
alter table kill_switch enable row level security;
alter table kill_switch force row level security;
create policy writes on kill_switch to fermata_writer using (true) with check (true);
create policy reads on kill_switch for select to fermata_reader using (client_id = '*' or reads(client_id));

set local search_path to default;
