-- Who may touch what, in Postgres itself. The roles exist already: `fermata migrate` makes them.

set local search_path = fermata, pg_temp;

grant usage on schema fermata to fermata_writer, fermata_reader;
grant select, insert, update, delete on run, live, outcome, step, renewal, signal, gate, intent, action, position,
    event, artifact, idempotency, token, kill_switch, node to fermata_writer;
grant select, insert on audit to fermata_writer;
grant select on action_transition, command to fermata_writer;
revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

-- Requests are answered through this role only, under row-level security. `fermata.client` is set
-- per transaction; unset reads no rows; '*' is a principal of every client.
grant select on run, live, outcome, step, signal, gate, intent, action, event, audit, artifact, kill_switch, command
    to fermata_reader;

create function reads(client text) returns boolean language sql stable as $$
    select client = current_setting('fermata.client', true) or current_setting('fermata.client', true) = '*'
$$;
grant execute on function reads(text) to fermata_reader;

do $$
declare
    name text;
begin
    foreach name in array array['run', 'live', 'outcome', 'signal', 'gate', 'intent', 'action', 'event', 'audit', 'artifact'] loop
        execute format('alter table fermata.%I enable row level security', name);
        execute format('alter table fermata.%I force row level security', name);
        execute format('create policy writes on fermata.%I to fermata_writer using (true) with check (true)', name);
        execute format('create policy reads on fermata.%I for select to fermata_reader using (fermata.reads(client_id))', name);
    end loop;
end $$;
alter table step enable row level security;
alter table step force row level security;
create policy writes on step to fermata_writer using (true) with check (true);
create policy reads on step for select to fermata_reader using (
    exists (select 1 from fermata.run r where r.id = step.run_id));

set local search_path to default;
