#!/usr/bin/env bash
# Starts `fermata dev`, takes the tour, and serves until Ctrl-C.
#
# With CI=true everything is temporary (free ports, a data folder of its own), `dev` is stopped after the
# tour, and the exit code is that of the tour, or 1 if `dev` did not end cleanly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly FERMATA="${FERMATA_BIN:-${CARGO_TARGET_DIR:-target}/release/fermata}"
readonly READY_LIMIT_SECS="${READY_LIMIT_SECS:-180}"
readonly STOP_LIMIT_SECS="${STOP_LIMIT_SECS:-60}"
# Where clusters of root lie; see api/src/postgres/folder.rs.
readonly ROOT_CLUSTERS=/var/lib/fermata

ci=false
if [[ "${CI:-}" == true ]]; then ci=true; fi
scratch=""
dev_pid=""
demo_pid=""

say() { printf 'run: %s\n' "$*"; }

# Whether a process still runs. Bash takes the status of its dead children at once, so none stays a zombie.
runs() { kill -0 "$1" 2>/dev/null; }

# Sends SIGTERM, waits for the drain, and only then is harsh. Gives the exit code of the process.
stop_child() {
  local pid="$1" deadline=$((SECONDS + STOP_LIMIT_SECS)) code=0
  kill -TERM "$pid" 2>/dev/null || true
  while runs "$pid" && ((SECONDS < deadline)); do sleep 0.1; done
  if runs "$pid"; then
    say "process $pid did not end within $STOP_LIMIT_SECS s of SIGTERM; killing it" >&2
    # Its whole group if it leads one, as `dev` does.
    kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
  fi
  wait "$pid" || code=$?
  return "$code"
}

# Takes away the temporary data folder, and the cluster that root keeps outside it. A database server that
# is left because `dev` had to be killed is ended first.
remove_scratch() {
  local link="$scratch/data/postgres.location" cluster="$scratch/data/postgres" server deadline
  if [[ -f "$link" ]]; then cluster="$(<"$link")"; fi
  if read -r server 2>/dev/null <"$cluster/postmaster.pid" && [[ "$server" =~ ^[1-9][0-9]*$ ]]; then
    kill -QUIT "$server" 2>/dev/null || true
    deadline=$((SECONDS + 10))
    while [[ -e "$cluster/postmaster.pid" ]] && runs "$server" && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  if [[ "$cluster" =~ ^$ROOT_CLUSTERS/[0-9a-f]+(-[0-9]+)?$ ]]; then
    rm -rf -- "$cluster" "$cluster.lock"
  fi
  rm -rf -- "$scratch"
}

clean_up() {
  local code=$?
  trap '' INT TERM HUP
  if [[ -n "$demo_pid" ]]; then stop_child "$demo_pid" || true; fi
  if [[ -n "$dev_pid" ]]; then stop_child "$dev_pid" || true; fi
  if [[ -n "$scratch" ]]; then remove_scratch; fi
  exit "$code"
}

start_dev() {
  scratch="$(mktemp -d "${TMPDIR:-/tmp}/fermata-run.XXXXXX")"
  local -a flags=(--ready-file "$scratch/ready.json")
  if $ci; then
    flags+=(--data-dir "$scratch/data" --control 127.0.0.1:0 --telemetry 127.0.0.1:0 --demo-site 127.0.0.1:0)
  fi
  say "starting fermata dev…"
  # In a process group of its own: Ctrl-C reaches this script only, which sends `dev` one SIGTERM. Two
  # signals would mean "end at once".
  set -m
  "$FERMATA" dev "${flags[@]}" </dev/null &
  dev_pid=$!
  set +m
}

wait_until_ready() {
  local started=$SECONDS told=$SECONDS code=0
  until [[ -s "$scratch/ready.json" ]]; do
    if ! runs "$dev_pid"; then
      wait "$dev_pid" || code=$?
      dev_pid=""
      say "fermata dev ended before it was ready (exit code $code)" >&2
      exit 1
    fi
    if ((SECONDS - started >= READY_LIMIT_SECS)); then
      say "fermata dev was not ready within $READY_LIMIT_SECS s" >&2
      exit 1
    fi
    if ((SECONDS - told >= 3)); then
      say "waiting for fermata dev… $((SECONDS - started)) s"
      told=$SECONDS
    fi
    sleep 0.1
  done
  say "ready after $((SECONDS - started)) s"
}

take_tour() {
  local -a flags=(--ready-file "$scratch/ready.json")
  if $ci; then flags+=(--ci); fi
  local code=0
  "$FERMATA" demo "${flags[@]}" <&0 &
  demo_pid=$!
  wait "$demo_pid" || code=$?
  demo_pid=""
  return "$code"
}

main() {
  if [[ ! -x "$FERMATA" ]]; then
    say "$FERMATA is not built; run: make run" >&2
    exit 1
  fi
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  start_dev
  wait_until_ready
  local tour=0 end=0
  take_tour || tour=$?
  if $ci; then
    stop_child "$dev_pid" || end=$?
    dev_pid=""
    if ((end != 0)); then say "fermata dev ended with $end after SIGTERM; 0 was due" >&2; fi
    if ((tour != 0)); then
      say "the tour failed (exit code $tour)" >&2
      exit "$tour"
    fi
    ((end == 0)) || exit 1
    say "the tour held"
    exit 0
  fi
  if ((tour != 0)); then say "the tour failed (exit code $tour); serving on so that you can look" >&2; fi
  say "serving; Ctrl-C stops it"
  wait "$dev_pid" || end=$?
  dev_pid=""
  exit "$end"
}

main "$@"
