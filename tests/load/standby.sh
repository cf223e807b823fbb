#!/usr/bin/env bash
# A primary and a synchronous standby at the end of a slow wire, until it is interrupted.
#
#   PG_BIN=/usr/lib/postgresql/15/bin standby.sh [MS each way, 2.5 by default]
#
# Prints the primary's URL. Commits wait for the standby's flush; `alter system set synchronous_standby_names = ''` and
# `select pg_reload_conf()` let them go without.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin=${PG_BIN:-$(dirname "$(command -v initdb)")}
work=$(mktemp -d "${TMPDIR:-/tmp}/fermata-standby.XXXXXX")
chmod 755 "$work"
as() { if ((EUID == 0)); then runuser -u postgres -- "$@"; else "$@"; fi; }
if ((EUID == 0)); then chown postgres "$work"; fi
free() { node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
primary=$(free) standby=$(free) wire=$(free)

stop() {
    for side in b a; do as "$bin/pg_ctl" -D "$work/$side" -m immediate stop >/dev/null 2>&1 || true; done
    kill "$slow" 2>/dev/null || true
    rm -rf -- "$work"
}
slow=
trap stop EXIT
cd "$work"
as "$bin/initdb" -D "$work/a" -A trust -U postgres >/dev/null
settings() { printf "port=%s\nunix_socket_directories='%s'\nlisten_addresses='127.0.0.1'\n" "$1" "$work"; }
settings "$primary" >>"$work/a/postgresql.conf"
printf 'max_connections=300\n' >>"$work/a/postgresql.conf"
as "$bin/pg_ctl" -D "$work/a" -l "$work/a.log" -w start >/dev/null
node "$here/slow.mjs" "$wire" "127.0.0.1:$primary" "${1:-2.5}" &
slow=$!
as "$bin/pg_basebackup" -h 127.0.0.1 -p "$primary" -U postgres -D "$work/b" -R -X stream
settings "$standby" >>"$work/b/postgresql.auto.conf"
printf "primary_conninfo='host=127.0.0.1 port=%s user=postgres application_name=b'\n" "$wire" >>"$work/b/postgresql.auto.conf"
as "$bin/pg_ctl" -D "$work/b" -l "$work/b.log" -w start >/dev/null
url="postgres://postgres@127.0.0.1:$primary/postgres"
psql -qX "$url" -c "alter system set synchronous_standby_names = 'b'" -c 'select pg_reload_conf()' >/dev/null
echo "$url"
wait "$slow"
