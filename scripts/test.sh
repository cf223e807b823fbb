#!/usr/bin/env bash
# Runs the whole test suite in the release profile, against the programs that `make build` built and on a
# Postgres cluster of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo="${CARGO:-cargo}"
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target"
target="$(cd "$target" && pwd)"
# Tests about processes start these, and must not find an older copy elsewhere.
export FERMATA_BIN="$target/release/fermata"
export FERMATA_RIGGED_BIN="$target/release/fermata-rigged"
export FERMATA_FAULT_PROXY_BIN="$target/release/fermata-fault-proxy"
export FERMATA_DEMO_SITE_BIN="$target/release/fermata-demo-site"
# How long the rig throws faults at the programs once the suite has passed.
readonly TORTURE_SECS="${TORTURE_SECS:-150}"

scripts/bootstrap.sh tests
SECONDS=0
"$cargo" build --quiet --release -p fermata-tests --bin fermata-test-cluster

# The cluster lives as long as this script holds its standard input.
scratch="$(mktemp -d "${TMPDIR:-/tmp}/fermata-test.XXXXXX")"
coproc cluster { exec "$target/release/fermata-test-cluster" "$scratch/cluster"; }
# shellcheck disable=SC2154 # set by coproc
cluster_pid="$cluster_PID" cluster_in="${cluster[1]}"
stop_cluster() {
  exec {cluster_in}>&- || true
  wait "$cluster_pid" || true
  if [[ -f "$scratch/cluster/postgres.location" ]]; then
    kept="$(<"$scratch/cluster/postgres.location")"
    rm -rf -- "$kept" "$kept.lock"
  fi
  rm -rf -- "$scratch"
}
trap stop_cluster EXIT
if ! read -r FERMATA_TEST_DATABASE_URL <&"${cluster[0]}"; then
  echo "test: the suite's cluster did not start" >&2
  exit 1
fi
export FERMATA_TEST_DATABASE_URL

outcome=0
if "$cargo" nextest --version >/dev/null 2>&1; then
  "$cargo" nextest run --release "${@:---workspace}" || outcome=$?
  # nextest leaves doc tests out, and that no permit can be forged is one.
  if (($# == 0)); then
    # Of the whole workspace: with the features that the tests had, so that nothing is built again.
    "$cargo" test --release --doc --workspace || outcome=$?
  fi
else
  "$cargo" test --release "${@:---workspace}" || outcome=$?
fi

if (($# == 0 && outcome == 0 && TORTURE_SECS > 0)); then
  "$target/release/fermata-torture" all --budget "$TORTURE_SECS" --out "$target/torture" || outcome=$?
fi

if ((outcome == 0)); then
  echo "test: all passed in $SECONDS s"
else
  echo "test: FAILED after $SECONDS s" >&2
fi
exit "$outcome"
