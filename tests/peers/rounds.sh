#!/usr/bin/env bash
# interleaved throughput rounds; needs the variables run.sh exports. Output: JSON lines on stdout
set -u
cd "$(dirname "$0")"
run() { # peer, measures, env...
  local p=$1 m=$2; shift 2
  env "$@" timeout 150 node drive.mjs "$p" "$m" 2>>"$TMP_DIR/err.log" | grep '^{'
}
one() {
  case $1 in
    fermata)     run fermata warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=40000 N0S=40000 N3=20000 N10=10000 ;;
    dbos)        run dbos warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=3000 N3=1000 N10=400 ;;
    dbos-direct) run dbos-direct warm,w0,w3,w10 WARM=w0,w3,w10 X_POOL=20 N0=3000 N3=1000 N10=400 ;;
    absurd)      run absurd warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=3000 N3=1000 N10=400 ;;
    restate)     run restate warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=4000 N0S=4000 N3=2000 N10=1000 ;;
    graphile)    run graphile warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=20000 N3=500 N10=150 ;;
    pgboss)      run pgboss warm,w0,w0s WARM=w0 N0=20000 N0S=6000 ;;
    apalis)      run apalis warm,w0,w0s,w3,w10 WARM=w0,w3,w10 N0=10000 N3=1000 N10=300 ;;
  esac
}
peers=(${PEERS:-fermata dbos absurd restate graphile pgboss apalis dbos-direct})
for ((r = 1; r <= ${ROUNDS:-3}; r++)); do
  export ROUND=$r
  node limits.mjs 2>>"$TMP_DIR/err.log"
  for ((i = 0; i < ${#peers[@]}; i++)); do one "${peers[$(((i + r) % ${#peers[@]}))]}"; done   # rotated order
done
