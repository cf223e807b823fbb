#!/usr/bin/env bash
# kill -9 takeover, default and tuned. KILL_LONG=1 also waits for the long defaults (up to 18 minutes, in parallel)
set -u
cd "$(dirname "$0")"
k() { node kill.mjs "$@" 2>>"$TMP_DIR/err.log" | grep '^{'; }
if [ "${KILL_LONG:-0}" = 1 ]; then
  (k absurd default 200) & (k apalis default 400) & (k graphile default 120) & (k pgboss default 1080) & wait
fi
for ((n = 1; n <= ${KILLS:-15}; n++)); do k fermata default 60; done
k dbos default-standby-other-executor 45
k dbos restart-same-executor 60 restart
X_CLAIM_S=5 k absurd tuned-lease-5s 60
k restate default 60
X_HEARTBEAT_MS=1000 X_MISSED=3 k apalis tuned-heartbeat-1s-x3 60
QUEUE_OPTS='{"heartbeatSeconds":10}' BOSS_OPTS='{"superviseIntervalSeconds":1,"monitorIntervalSeconds":1}' k pgboss tuned-heartbeat-10s 90
