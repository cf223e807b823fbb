-- What a node reads of a run when it takes it on, in one round trip.

set local search_path = fermata, pg_temp;

create function mailbox(run uuid, gen int4) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'signals', (select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'name', s.name, 'payload', s.payload)
                    order by s.sent_at, s.id), '[]') from fermata.signal s where s.run_id = run and s.consumed_by is null),
        'gates', (select coalesce(jsonb_agg(to_jsonb(g) order by g.opened_at, g.id), '[]')
                  from fermata.gate g where g.run_id = run and g.generation = gen),
        'children', (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'status', o.status, 'result', o.result,
                     'error', o.error)), '[]') from fermata.outcome o where o.parent_id = run))
$$;

create function history(run uuid, gen int4) returns jsonb language sql stable as $$
    select fermata.mailbox(run, gen) || jsonb_build_object(
        'steps', (select coalesce(jsonb_agg(jsonb_build_object('key', s.key, 'attempt', s.attempt, 'kind', s.kind,
                  'beside', s.beside, 'input_hash', s.input_hash, 'output', s.output, 'error', s.error)
                  order by s.seq, s.attempt), '[]') from fermata.step s where s.run_id = run and s.generation = gen),
        'actions', (select coalesce(jsonb_agg(to_jsonb(a) order by a.created_at, a.id), '[]')
                    from fermata.action a where a.run_id = run))
$$;

-- Gives a run back without a record: its holder could not write one. The delivery counts.
create function release(at timestamptz, run uuid, held int4) returns boolean language plpgsql as $$
declare
    owner text;
begin
    update fermata.live l set state = 0, node = null, ready_at = at
        where l.id = run and l.state = 1 and l.epoch = held returning l.client_id into owner;
    if owner is null then
        return false;
    end if;
    perform fermata.append(at, array[owner], array[run], array['status.changed'], array[2::int2],
        array['{"from": "RUNNING", "to": "QUEUED", "reason": "released"}'::jsonb], null);
    return true;
end $$;

grant execute on function mailbox(uuid, int4), history(uuid, int4), release(timestamptz, uuid, int4) to fermata_writer;
revoke execute on function mailbox(uuid, int4), history(uuid, int4), release(timestamptz, uuid, int4) from public;

set local search_path to default;
