-- Partitions: run, outcome and step by the day of the run's id, events by position.
-- They exist days ahead; the default ones catch the rest.

set local search_path = fermata, pg_temp;

-- The smallest UUID of version 7 of that time.
create function uuid_floor(at timestamptz) returns uuid language sql immutable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes what is missing up to `days` ahead. Idempotent; one at a time.
create function make_partitions(days int4) returns int4 language plpgsql as $$
declare
    parent text;
    day    date;
    name   text;
    low    int8;
    made   int4 := 0;
    span   constant int8 := 10000000;
begin
    perform pg_advisory_xact_lock(hashtext('fermata.make_partitions'));
    foreach parent in array array['run', 'outcome', 'step'] loop
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

create table run_rest partition of run default;
create table outcome_rest partition of outcome default;
create table step_rest partition of step default;
create table event_rest partition of event default;
select make_partitions(3);

set local search_path to default;
