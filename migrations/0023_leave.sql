-- A node that leaves while the database believes that it holds a run dies instead: others look for what the dead held.

set local search_path = fermata, pg_temp;

-- A claim whose answer was lost is such a run, when its node has not found it yet. Nobody would ever look for the runs of a
-- node that is not there.
create function leave(leaving uuid) returns void
language plpgsql set search_path = fermata, pg_temp as $$
begin
    -- A statement of its own: whoever claims for the node locks it first, and the next one sees what that claimed.
    perform 1 from node n where n.id = leaving for update;
    if exists (select 1 from live l where l.state = 1 and l.node = leaving) then
        update node n set lease_until = now() - interval '1 ms' where n.id = leaving;
    else
        delete from node n where n.id = leaving;
    end if;
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;
