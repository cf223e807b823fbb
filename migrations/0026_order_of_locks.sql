-- In which order what a batch judges is locked (design, section 4).

set local search_path = fermata, pg_temp;

-- As in 0025, but that intents are locked in the order of their keys here and not by who calls: a record's parts come, and are
-- applied, in their own order.
create or replace function judge(at timestamptz, rare jsonb) returns jsonb language plpgsql as $$
declare
    r       record;
    planned fermata.intent;
    current fermata.action;
    verdict jsonb := '{}';
    why     jsonb;
    begun   jsonb := '{}';
    account text;
    taken   uuid[] := '{}';
begin
    for r in select e.x, (e.x ->> 'ord') as ord from jsonb_array_elements(rare) with ordinality e(x, n)
             where e.x ->> 'op' in ('plan', 'attempt') order by e.x ->> 'intent_key' nulls first, e.n loop
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
                if not planned.id = any (taken) then
                    taken := taken || planned.id;
                    continue;
                end if;
                current := null;
            end if;
            verdict := verdict || jsonb_build_object(r.ord, jsonb_build_object('held', to_jsonb(current)));
        elsif not verdict ? r.ord then
            account := jsonb_build_array(r.x -> 'client_id', r.x -> 'platform', r.x -> 'account_id')::text;
            why := fermata.admit(at, r.x, coalesce((begun ->> account)::int8, 0));
            if why is not null then
                verdict := verdict || jsonb_build_object(r.ord, why);
            else
                begun := jsonb_set(begun, array[account], to_jsonb(coalesce((begun ->> account)::int8, 0) + 1));
            end if;
        end if;
    end loop;
    return verdict;
end $$;

set local search_path to default;
