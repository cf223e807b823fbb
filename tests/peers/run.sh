#!/usr/bin/env bash
# Measures Fermata and its peers side by side on a private Postgres cluster; README.md says how.
#
#   ROUNDS=3 ./run.sh                 throughput rounds, latency, kill -9; then the table and the picture
#   PARTS="tp lat kill"               some parts        PEERS="fermata dbos"   some peers
#   KILL_LONG=1                       waits for long default leases too (up to 18 minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

find_postgres() {
  local initdb
  for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb "$(command -v initdb || true)"; do
    if [[ -x "$initdb" ]]; then
      dirname "$initdb"
      return 0
    fi
  done
  echo "bench-peers: no Postgres server programs; run make bootstrap" >&2
  return 1
}

as_postgres() {
  if ((EUID == 0)); then runuser -u postgres -- "$@"; else "$@"; fi
}

PG_BIN="${PG_BIN:-$(find_postgres)}"
work="$(mktemp -d "${TMPDIR:-/tmp}/fermata-peers.XXXXXX")"
export PG_BIN TMP_DIR="$work"
readonly out="$PWD/out" cluster="$work/pg"
mkdir -p "$out" "$cluster"

# --- what is measured, through the ordinary clients of npm, PyPI and crates.io
[[ -d node_modules ]] || npm ci
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
export ABSURDCTL="$work/venv/bin/absurdctl"
built="${CARGO_TARGET_DIR:-../../target}"
mkdir -p "$built/peers"
built="$(cd "$built" && pwd)"
cargo build --quiet --profile dist -p fermata-peer
export FERMATA_PEER="$built/dist/fermata-peer"
(cd apalis && CARGO_TARGET_DIR="$built/peers" cargo build --quiet --release --locked)
export APALIS_BENCH="$built/peers/release/apalis-bench"

# --- a private cluster, all defaults (fsync on, synchronous_commit on) but port, socket and connections
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
export PG_DATA="$cluster/data" PG_BASE="postgres://postgres@127.0.0.1:$port"
if ((EUID == 0)); then
  chmod 755 "$work"
  chown postgres "$cluster"
fi
postgres() { (cd "$cluster" && as_postgres "$PG_BIN/$1" "${@:2}"); }
stop_cluster() {
  postgres pg_ctl -D "$PG_DATA" -m immediate stop >/dev/null || true
  rm -rf -- "$work"
}
postgres initdb -D "$PG_DATA" -A trust -U postgres >/dev/null
postgres pg_ctl -D "$PG_DATA" -w -l "$cluster/log" \
  -o "-p $port -k $cluster -c listen_addresses=127.0.0.1 -c max_connections=200" start >/dev/null
trap stop_cluster EXIT
postgres pg_test_fsync -s 1 -f "$cluster/fsync.tmp" >"$out/fsync.txt" 2>&1 || true

# --- the measurement
readonly parts=" ${PARTS:-tp lat kill} "
if [[ "$parts" == *" tp "* ]]; then ./rounds.sh | tee "$out/tp.jsonl"; fi
if [[ "$parts" == *" lat "* ]]; then ./latency.sh | tee "$out/lat.jsonl"; fi
if [[ "$parts" == *" kill "* ]]; then ./kills.sh | tee "$out/kill.jsonl"; fi
cp -- "$TMP_DIR/err.log" "$out/" 2>/dev/null || true
node table.mjs "$out"/*.jsonl | tee "$out/table.md"
node picture.mjs "$out"/*.jsonl >"$out/peers.svg"
echo "bench-peers: $out/table.md and $out/peers.svg"
