#!/usr/bin/env bash
# Partitions of days gone by are dropped while the load runs: what the load feels of it.
#
#   DATABASE_URL=postgres://…/fresh FERMATA=target/release/fermata retention.sh
#
# The database must be a fresh one. Prints how many events were committed in a tenth of a second, the least and the median,
# before anything is dropped and while it is. (DETACH … CONCURRENTLY is not for tables with a default partition.)
set -euo pipefail
fermata=${FERMATA:-fermata}
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$DATABASE_URL" "$@"; }

"$fermata" migrate >/dev/null
sql <<'SQL'
-- Four days and three spans of events, half a million rows in each.
set client_min_messages = warning;
set search_path = fermata;
update position set event = 40000000;
do $$ begin perform make_partitions(1); end $$;
do $$
declare
    d    int4;
    low  uuid;
    high uuid;
begin
    for d in 1..4 loop
        low := uuid_floor(date_trunc('day', now()) - d * interval '1 day');
        high := uuid_floor(date_trunc('day', now()) - (d - 1) * interval '1 day');
        execute format('create table step_old_%s partition of step for values from (%L) to (%L)', d, low, high);
        execute format('insert into step_old_%s select overlay(%L::text placing lpad(to_hex(n), 12, ''0'') from 25)::uuid, 0,
            ''step[0]'', 1, 1, 1, 1, false, '''', ''{"ok": true}'', null, now(), now() from generate_series(1, 500000) n', d, low);
    end loop;
    for d in 0..2 loop
        execute format('create table if not exists event_%s partition of event for values from (%s) to (%s)', d, d * 10000000, (d + 1) * 10000000);
        execute format('insert into event_%s select %s + n, now(), ''old'', null, ''step.succeeded'', 1, ''{"key": "step[0]"}''
            from generate_series(1, 500000) n', d, d * 10000000);
    end loop;
end $$;
SQL

"$fermata" bench --workload w3 --runs "${RUNS:-120000}" >/tmp/retention.$$ 2>/dev/null &
load=$!
trap 'kill $load 2>/dev/null || true; rm -f /tmp/retention.$$*' EXIT
until [ "$(sql -c 'select event > 40010000 from fermata.position')" = t ]; do sleep 0.2; done

# Ten times a second: how far the events are.
(while kill -0 $load 2>/dev/null; do echo "select extract(epoch from clock_timestamp()), event from fermata.position;"; sleep 0.1; done) |
    sql -F' ' >/tmp/retention.$$.at &
sleep 4
date +%s.%N >/tmp/retention.$$.from
for table in step_old_1 step_old_2 step_old_3 step_old_4 event_0 event_1 event_2; do
    sql -c "drop table fermata.$table"
    sleep 0.3
done
date +%s.%N >/tmp/retention.$$.to
wait $load || true
sleep 0.3
awk -v from="$(cat /tmp/retention.$$.from)" -v to="$(cat /tmp/retention.$$.to)" '
    NR > 1 && $2 > last { tenth = ($2 - last) / ($1 - at) / 10; if ($1 < from) quiet[++q] = tenth; else if ($1 < to) busy[++b] = tenth }
    NR > 1 && $2 == last && $1 >= from && $1 < to { busy[++b] = 0 }
    { at = $1; last = $2 }
    function told(list, n, i, j, x) {
        for (i = 2; i <= n; i++) { x = list[i]; for (j = i - 1; j && list[j] > x; j--) list[j + 1] = list[j]; list[j + 1] = x }
        return sprintf("least %d, median %d (%d tenths)", list[1], list[int((n + 1) / 2)], n)
    }
    END { print "events in a tenth of a second, before: " told(quiet, q) "; while dropping: " told(busy, b) }
' /tmp/retention.$$.at
grep -E "runs_per_s" /tmp/retention.$$ || true
