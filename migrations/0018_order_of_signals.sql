-- Signals have an order that never changes: each gets the number that its run's inbox has after it, under the lock of
-- that row, which is held to the commit. A time is no such order: two lanes take theirs before they wait for the row.
--
-- So a run that takes the lowest unconsumed signal of a name takes the same one in every replay, and need not wait for
-- the record of that before it goes on.

set local search_path = fermata, pg_temp;

-- 0: sent before this migration, in the order of `sent_at`.
alter table signal add column number int4 not null default 0;

-- As in 0015, with the number.
create or replace function leave_signal(at timestamptz, signal uuid, run uuid, client text, signal_name text, body jsonb, actor text,
    out owner text, out word text) language plpgsql as $$
declare
    was  int2;
    last int4;
begin
    select l.client_id, l.state, l.inbox into owner, was, last from fermata.live l
        where l.id = run and (client = '*' or l.client_id = client) for no key update;
    if not found then
        word := case when exists (select 1 from fermata.outcome o where o.id = run and (client = '*' or o.client_id = client))
                     then 'ended' else 'missing' end;
        return;
    end if;
    insert into fermata.signal (id, run_id, client_id, name, payload, sent_by, sent_at, number)
        values (signal, run, owner, signal_name, body, actor, at, last + 1) on conflict do nothing;
    if not found then
        word := 'replayed';
        return;
    end if;
    perform fermata.knock(at, array[run]);
    word := case when was = 1 then 'held' else 'applied' end;
end $$;

-- As in 0015, with signals in their order.
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
                    order by s.number, s.sent_at, s.id), '[]') from fermata.signal s where s.run_id = run and s.consumed_by is null),
        'gates', (select coalesce(jsonb_agg(to_jsonb(g) order by g.opened_at, g.id), '[]')
                  from fermata.gate g where g.run_id = run and g.generation = gen),
        'children', children);
end $$;

set local search_path to default;
