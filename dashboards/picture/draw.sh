#!/usr/bin/env bash
# Draws the boards as they look under load: a `fermata dev` of its own, a real Prometheus that scrapes it, five
# minutes of work of every kind, then one picture a board into docs/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly MINUTES="${MINUTES:-5}" PROMETHEUS_PORT="${PROMETHEUS_PORT:-17090}"
fermata="$PWD/${CARGO_TARGET_DIR:-target}/release/fermata"
scratch="$(mktemp -d "${TMPDIR:-/tmp}/fermata-boards.XXXXXX")"
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
  rm -rf -- "$scratch"
}
trap finish EXIT

if ! command -v prometheus >/dev/null 2>&1 && [[ ! -x "${PROMETHEUS:-}" ]]; then
  # Its package would start a server; only the program is taken out of it.
  (cd "$scratch" && apt-get -qq download prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/prometheus)
  PROMETHEUS="$scratch/usr/bin/prometheus"
fi

"$fermata" dev --data-dir "$scratch/data" --control 127.0.0.1:0 --telemetry 127.0.0.1:0 --demo-site 127.0.0.1:0 \
  --ready-file "$scratch/ready.json" >"$scratch/dev.log" 2>&1 &
started+=($!)
until [[ -s "$scratch/ready.json" ]]; do
  kill -0 "${started[0]}" || { cat "$scratch/dev.log" >&2; exit 1; }
  sleep 0.2
done

# A worker that was killed comes back at another address.
follow_targets() {
  while true; do
    python3 dashboards/picture/load.py "$scratch/ready.json" targets >"$scratch/targets.new"
    mv "$scratch/targets.new" "$scratch/targets.json"
    sleep 2
  done
}
follow_targets 2>/dev/null &
started+=($!)
cat >"$scratch/prometheus.yml" <<YAML
global: { scrape_interval: 5s }
scrape_configs:
  - job_name: fermata
    file_sd_configs: [{ files: [$scratch/targets.json] }]
YAML
"${PROMETHEUS:-prometheus}" --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/tsdb" \
  --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --log.level=warn &
started+=($!)

# Somebody follows the stream, so that there is something to be behind.
"$fermata" events tail --data-dir "$scratch/data" --after latest >/dev/null 2>&1 &
started+=($!)
echo "boards: $MINUTES minutes of work…"
python3 dashboards/picture/load.py "$scratch/ready.json" work --minutes "$MINUTES"
for board in operator engineer; do
  python3 dashboards/picture/render.py "http://127.0.0.1:$PROMETHEUS_PORT" "dashboards/grafana/$board.json" \
    "docs/board-$board.svg" --minutes "$MINUTES"
  echo "boards: docs/board-$board.svg"
done
