// node table.mjs file.jsonl [file.jsonl ...] : medians, min-max and the ratio to pgbench of the same round
import fs from 'node:fs'
const rows = process.argv.slice(2).flatMap((f) =>
  fs
    .readFileSync(f, 'utf8')
    .split('\n')
    .filter((l) => l[0] === '{')
    .map((l) => JSON.parse(l)),
)
const med = (a) => {
  const s = a.filter((x) => x !== null && x !== undefined).sort((x, y) => x - y)
  if (!s.length) return null
  const m = s.length >> 1
  return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2
}
const rng = (a) => {
  const s = a.filter((x) => x !== null && x !== undefined)
  return s.length ? `${Math.min(...s)}-${Math.max(...s)}` : ''
}
const f = (x, d = 0) => (x === null || x === undefined ? '-' : x.toFixed(d))
const lim = {}
for (const r of rows) if (r.peer === 'limit') (lim[r.round] ??= {})[r.m] = r.rate
console.log('\n## pgbench limit\n| script@clients | median /s | min-max | rounds |\n|---|---|---|---|')
for (const m of [...new Set(rows.filter((r) => r.peer === 'limit').map((r) => r.m))]) {
  const a = rows.filter((r) => r.peer === 'limit' && r.m === m).map((r) => r.rate)
  console.log(`| ${m} | ${f(med(a))} | ${rng(a)} | ${a.length} |`)
}
const LIM = { w0: ['L2@32', 0], w0s: ['L2@32', 0], w3: ['L1@32', 3], w10: ['L1@32', 10] }
console.log(
  '\n## throughput (W0: share of L2@32; W3/W10: steps/s as a share of L1@32, same round)\n| measure | peer | /s median | min-max | steps/s | share of limit | CPU s per 1000 | (client, worker, server) | WAL or disk B each | rounds |\n|---|---|---|---|---|---|---|---|---|---|',
)
for (const m of ['w0', 'w0s', 'w3', 'w10']) {
  const lines = []
  for (const p of [...new Set(rows.filter((r) => r.m === m && !r.error).map((r) => r.peer))]) {
    const a = rows.filter((r) => r.m === m && r.peer === p && r.rate),
      [L, k] = LIM[m]
    const share = a.map((r) => (lim[r.round]?.[L] ? (r.rate * (k || 1)) / lim[r.round][L] : null))
    const parts = [0, 1, 2].map((i) => f(med(a.map((r) => r.cpu_parts[i])), 2)).join(', ')
    lines.push([
      med(a.map((r) => r.rate)),
      `| ${m} | ${p} | ${f(med(a.map((r) => r.rate)))} | ${rng(a.map((r) => Math.round(r.rate)))} | ${k ? f(med(a.map((r) => r.rate)) * k) : ''} | ${f(med(share) * 100, 1)}% | ${f(med(a.map((r) => r.cpu1000)), 2)} | ${parts} | ${f(med(a.map((r) => r.wal_per ?? r.disk_per)))} | ${a.length} |`,
    ])
  }
  for (const l of lines.sort((x, y) => y[0] - x[0])) console.log(l[1])
}
for (const [m, cols] of [
  ['lat', ['start_p50', 'start_p99', 'vis_p50', 'vis_p99']],
  ['sig', ['p50', 'p99']],
]) {
  const a = rows.filter((r) => r.m === m && !r.error)
  if (!a.length) continue
  console.log(
    `\n## ${m} (ms; median over rounds, min-max)\n| peer | config | ${cols.join(' | ')} | rounds x samples |\n|---|---|${cols.map(() => '---|').join('')}---|`,
  )
  for (const key of [...new Set(a.map((r) => r.peer + '|' + r.cfg))]) {
    const b = a.filter((r) => r.peer + '|' + r.cfg === key),
      [p, c] = key.split('|')
    console.log(
      `| ${p} | ${c} | ${cols.map((k) => `${f(med(b.map((r) => r[k])), 1)} (${rng(b.map((r) => r[k]))})`).join(' | ')} | ${b.length} x ${b[0].samples} |`,
    )
  }
}
const ks = rows.filter((r) => r.m === 'kill9')
if (ks.length) {
  console.log(
    '\n## kill -9 inside a step: seconds until another worker enters it\n| peer | case | how | seconds |\n|---|---|---|---|',
  )
  for (const r of ks) console.log(`| ${r.peer} | ${r.label} | ${r.how} | ${r.secs ?? r.err} |`)
}
const er = rows.filter((r) => r.error)
if (er.length)
  console.log(
    '\n## errors\n' + er.map((r) => `- ${r.peer} ${r.m} round ${r.round}: ${r.error.slice(0, 160)}`).join('\n'),
  )
