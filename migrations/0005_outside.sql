-- What arrives from outside a lease: signals, decisions, cancel, resume. Each is one transaction.

set local search_path = fermata, pg_temp;

-- Keeps a signal and readies its run. Answers 'applied', 'replayed', 'ended' or 'missing'.
create function send_signal(at timestamptz, signal uuid, run uuid, client text, signal_name text, body jsonb, actor text)
returns text language plpgsql as $$
begin
    perform 1 from fermata.live l where l.id = run and l.client_id = client for no key update;
    if not found then
        return case when exists (select 1 from fermata.outcome o where o.id = run and o.client_id = client)
                    then 'ended' else 'missing' end;
    end if;
    insert into fermata.signal (id, run_id, client_id, name, payload, sent_by, sent_at)
        values (signal, run, client, signal_name, body, actor, at) on conflict do nothing;
    if not found then
        return 'replayed';
    end if;
    perform fermata.knock(at, array[run]);
    perform fermata.append(at, array[client], array[run], array['signal.received'], array[1::int2],
        array[jsonb_build_object('signal_id', signal, 'name', signal_name)], null);
    return 'applied';
end $$;

-- Decides a gate and readies its run: decision, event, audit and readying are one transaction.
-- Answers the gate as it stands afterwards and whether this call decided it; no row: no such gate.
create function decide_gate(at timestamptz, gate uuid, client text, decision text, who text, remark text, edited jsonb)
returns table (decided boolean, gate_row jsonb) language plpgsql as $$
declare
    g fermata.gate;
begin
    select * into g from fermata.gate t where t.id = gate and (client = '*' or t.client_id = client);
    if g.id is null then
        return;
    end if;
    perform 1 from fermata.live l where l.id = g.run_id for no key update;
    update fermata.gate t set state = decision, decided_at = at, actor = who, comment = remark, outputs = edited
        where t.id = gate and t.state = 'open' and (t.expires_at is null or t.expires_at > at) returning * into g;
    decided := found;
    if not decided then
        select * into g from fermata.gate t where t.id = gate;
    else
        update fermata.live l set state = 2, deliveries = 0 where l.id = g.run_id and l.state = 3;
        perform fermata.knock(at, array[g.run_id]);
        perform fermata.append(at, array[g.client_id], array[g.run_id], array['gate.resolved'], array[1::int2],
            array[jsonb_build_object('gate_id', g.id, 'state', g.state, 'actor', who)],
            jsonb_build_array(jsonb_build_object('client_id', g.client_id, 'run_id', g.run_id, 'actor', who,
                'phase', 'gate_' || g.state, 'body', jsonb_build_object('gate_id', g.id, 'reason', g.reason, 'comment', remark))));
    end if;
    gate_row := to_jsonb(g);
    return next;
end $$;

-- Cancels a run: one that never started ends at once; the others end at their next checkpoint.
-- Answers 'cancelled', 'cancelling', 'ended' or 'missing'.
create function cancel_run(at timestamptz, run uuid, client text, actor text, why text) returns text language plpgsql as $$
declare
    l fermata.live;
    was text;
begin
    select * into l from fermata.live t where t.id = run and t.client_id = client for no key update;
    if l.id is null then
        return case when exists (select 1 from fermata.outcome o where o.id = run and o.client_id = client)
                    then 'ended' else 'missing' end;
    end if;
    if l.cancel then
        return 'cancelling';
    end if;
    select status into was from fermata.command c where c.id = run;
    if l.state <> 1 and l.seq = 0 and l.deliveries = 0 and l.epoch = 0 then
        delete from fermata.live t where t.id = run;
        insert into fermata.outcome (id, client_id, status, epoch, error, parent_id, ended_at)
            values (run, client, 'CANCELLED', l.epoch, jsonb_build_object('code', 'cancelled', 'message', why, 'details', null), l.parent_id, at);
        if l.parent_id is not null then
            perform fermata.knock(at, array[l.parent_id]);
        end if;
        perform fermata.append(at, array[client], array[run], array['status.changed'], array[1::int2],
            array[jsonb_build_object('from', was, 'to', 'CANCELLED', 'actor', actor)], null);
        return 'cancelled';
    end if;
    update fermata.live t set cancel = true, state = case when t.state = 3 then 2 else t.state end where t.id = run;
    perform fermata.knock(at, array[run]);
    perform fermata.append(at, array[client], array[run], array['status.changed'], array[1::int2],
        array[jsonb_build_object('from', was, 'to', 'CANCELLING', 'actor', actor)], null);
    return 'cancelling';
end $$;

-- Resumes a run that waits at a takeover gate: decides the newest such gate as completed.
-- Answers 'resumed', 'not_waiting', 'ended' or 'missing'.
create function resume_run(at timestamptz, run uuid, client text, actor text, remark text, edited jsonb)
returns text language plpgsql as $$
declare
    gate uuid;
begin
    perform 1 from fermata.live l where l.id = run and l.client_id = client for no key update;
    if not found then
        return case when exists (select 1 from fermata.outcome o where o.id = run and o.client_id = client)
                    then 'ended' else 'missing' end;
    end if;
    select g.id into gate from fermata.gate g where g.run_id = run and g.state = 'open' and g.kind = 'takeover'
        order by g.opened_at desc limit 1;
    if gate is null then
        return 'not_waiting';
    end if;
    perform * from fermata.decide_gate(at, gate, client, 'completed', actor, remark, edited);
    return 'resumed';
end $$;

set local search_path to default;
