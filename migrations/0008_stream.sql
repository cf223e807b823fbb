-- The stream's history, and one-time tickets for browsers.

set local search_path = fermata, pg_temp;

-- Which history of the database the positions belong to. It is another one after a restore from a
-- backup, on another server, or on a promoted standby: cursors of before are then of no use, and
-- the epoch says so.
alter table position
    add column epoch   int4 not null default 1,
    add column history text;

-- Compares the stored history with the server's, raises the epoch when they differ, and answers
-- the epoch in force. A service that hides its identity keeps its epoch.
create function recognise() returns int4 language plpgsql as $$
declare
    here   text;
    answer int4;
begin
    begin
        here := (select system_identifier::text from pg_control_system())
             || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
    exception when insufficient_privilege or object_not_in_prerequisite_state then
        here := null;
    end;
    select epoch into answer from fermata.position p where here is null or p.history = here;
    if answer is not null then
        return answer;
    end if;
    update fermata.position set epoch = epoch + (history is not null and history <> here)::int4, history = here
        returning epoch into answer;
    return answer;
end $$;

-- A browser cannot send a header when it opens a WebSocket: it buys a ticket for one connection.
create table ticket (
    hash       bytea       primary key,
    token_id   uuid        not null,
    expires_at timestamptz not null
);
create index ticket_expiry on ticket (expires_at);

-- Takes a ticket: whoever comes second, comes too late.
create function take_ticket(wanted bytea) returns uuid language sql as $$
    delete from fermata.ticket where hash = wanted and expires_at > now() returning token_id
$$;

grant select, insert, delete on ticket to fermata_writer;
grant execute on function recognise(), take_ticket(bytea) to fermata_writer;
revoke execute on function recognise(), take_ticket(bytea) from public;

set local search_path to default;
