-- Log lines of all services (O-026, O-031, O-063): the table `logs`, by the day of its ids.

set local search_path = fermata, pg_temp;

create table logs (
    id             uuid        not null primary key,
    -- Whose run it is about; '*' is about none, or about one that is not known here.
    client_id      text        not null,
    at             timestamptz not null,
    received_at    timestamptz not null,
    level          text        not null check (level in ('trace', 'debug', 'info', 'warn', 'error')),
    service        text        not null,
    message        text        not null,
    trace_id       text,
    correlation_id text,
    run_id         uuid,
    data           jsonb       not null
) partition by range (id);
create table logs_rest partition of logs default;
create index logs_service on logs (service, id);
create index logs_trace on logs (trace_id, id) where trace_id is not null;
create index logs_correlation on logs (correlation_id, id) where correlation_id is not null;
create index logs_run on logs (run_id, id) where run_id is not null;

grant select, insert on logs to fermata_writer;
grant select on logs to fermata_reader;
alter table logs enable row level security;
alter table logs force row level security;
create policy writes on logs to fermata_writer using (true) with check (true);
create policy reads on logs for select to fermata_reader using (fermata.reads(client_id));

-- As in 0002, but for log lines too.
create or replace function make_partitions(days int4) returns int4 language plpgsql as $$
declare
    parent text;
    day    date;
    name   text;
    low    int8;
    made   int4 := 0;
    span   constant int8 := 10000000;
begin
    perform pg_advisory_xact_lock(hashtext('fermata.make_partitions'));
    foreach parent in array array['run', 'outcome', 'step', 'logs'] loop
        for n in 0..days loop
            day := (now() at time zone 'utc')::date + n;
            name := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
            if to_regclass(format('fermata.%I', name)) is null then
                execute format('create table fermata.%I partition of fermata.%I for values from (%L) to (%L)',
                    name, parent, fermata.uuid_floor(day::timestamp at time zone 'utc'),
                    fermata.uuid_floor((day + 1)::timestamp at time zone 'utc'));
                made := made + 1;
            end if;
        end loop;
    end loop;
    low := (select event from fermata.position) / span * span;
    for n in 0..1 loop
        name := format('event_%s', (low / span + n)::text);
        if to_regclass(format('fermata.%I', name)) is null then
            execute format('create table fermata.%I partition of fermata.event for values from (%s) to (%s)',
                name, low + n * span, low + (n + 1) * span);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
select make_partitions(3);

set local search_path to default;
