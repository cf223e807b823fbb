#!/usr/bin/env bash
# idle system, one request at a time; default settings first, then tuned for latency
set -u
cd "$(dirname "$0")"
run() { local p=$1 m=$2; shift 2; env "$@" timeout 300 node drive.mjs "$p" "$m" 2>>"$TMP_DIR/err.log" | grep '^{'; }
for ((r = 1; r <= ${LAT_ROUNDS:-2}; r++)); do
  export ROUND=L$r; I=; [ $r = 1 ] && I=idle,
  run fermata warm,${I}lat,sig SAMPLES=200
  run fermata-direct warm,${I}lat SAMPLES=200
  run dbos warm,${I}lat,sig SAMPLES=200 X_POLL_MS=10 X_POOL=20 X_CONC=200
  run absurd warm,${I}lat,sig SAMPLES=200
  run restate warm,${I}lat,sig SAMPLES=200
  run graphile warm,${I}lat   SAMPLES=200
  run apalis warm,${I}lat   SAMPLES=200 WAIT=0
  run dbos-direct warm,${I}lat   SAMPLES=200 X_POOL=20
  run pgboss warm,${I}lat   SAMPLES=60
done
if [ "${LAT_DEFAULTS:-1}" = 1 ]; then
export ROUND=LD CFG=default
run dbos     warm,idle,lat,sig SAMPLES=40 GAP_MS=1000
run absurd   warm,idle,lat,sig SAMPLES=100 GAP_MS=250
run restate  warm,idle,lat,sig SAMPLES=200
run graphile warm,idle,lat   SAMPLES=200
run apalis   warm,idle,lat   SAMPLES=40 GAP_MS=1000
run pgboss   idle,lat          SAMPLES=30 GAP_MS=2000
fi
