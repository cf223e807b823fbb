#!/usr/bin/env bash
# Runs the whole test suite in the release profile, against the programs that `make build` built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo="${CARGO:-cargo}"
target="${CARGO_TARGET_DIR:-target}"
target="$(cd "$target" && pwd)"
# Tests about processes start these, and must not find an older copy elsewhere.
export FERMATA_BIN="$target/release/fermata"
export FERMATA_DEMO_SITE_BIN="$target/release/fermata-demo-site"

SECONDS=0
outcome=0
if "$cargo" nextest --version >/dev/null 2>&1; then
  "$cargo" nextest run --workspace --release || outcome=$?
else
  "$cargo" test --workspace --release || outcome=$?
fi

if ((outcome == 0)); then
  echo "test: all passed in $SECONDS s"
else
  echo "test: FAILED after $SECONDS s" >&2
fi
exit "$outcome"
