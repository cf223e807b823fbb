-- A change of status tells the version that the command then has (Q-07).

set local search_path = fermata, pg_temp;

-- As in 0003, but that a change of status gets its version here when whoever tells it has not said
-- it: that of the row as it stands, or 0 for a run that ended before anybody took it up.
create or replace function append(
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
        select base.event + e.ord, at, e.client, e.run, e.type, e.severity,
            case when e.type = 'status.changed' and not e.data ? 'version' then e.data || jsonb_build_object('version',
                coalesce((select l.seq from fermata.live l where l.id = e.run), 0)) else e.data end
        from unnest(clients, runs, types, severities, datas) with ordinality e(client, run, type, severity, data, ord);
    if m > 0 then
        insert into fermata.audit (position, at, client_id, run_id, action_id, actor, phase, body)
            select base.audit + a.ord, at, a.x ->> 'client_id', (a.x ->> 'run_id')::uuid,
                   (a.x ->> 'action_id')::uuid, a.x ->> 'actor', a.x ->> 'phase', a.x -> 'body'
            from jsonb_array_elements(audits) with ordinality a(x, ord);
    end if;
    return base.event + n;
end $$;

set local search_path to default;
