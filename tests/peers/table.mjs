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
// What a step costs at least, in one round: 64 fenced checkpoints per statement on two connections.
const LIMIT = 'L5@2x64'
const STEPS = { w0: 0, w0s: 0, w3: 3, w10: 10 }
console.log(
  `\n## throughput (medians; the ratios are medians of those of each round)\n| measure | peer | runs/s | min-max | steps/s | share of ${LIMIT} | Fermata is faster by | CPU s per 1000 | (client, worker, server) | WAL or disk B each | rounds |\n|---|---|---|---|---|---|---|---|---|---|---|`,
)
for (const m of Object.keys(STEPS)) {
  const lines = []
  const measured = rows.filter((r) => r.m === m && r.rate)
  const ours = Object.fromEntries(measured.filter((r) => r.peer === 'fermata').map((r) => [r.round, r.rate]))
  for (const p of [...new Set(measured.map((r) => r.peer))]) {
    const a = measured.filter((r) => r.peer === p)
    const rate = med(a.map((r) => r.rate))
    const steps = STEPS[m]
    const share = a.map((r) => (steps && lim[r.round]?.[LIMIT] ? (r.rate * steps) / lim[r.round][LIMIT] : null))
    const faster = a.map((r) => (ours[r.round] && p !== 'fermata' ? ours[r.round] / r.rate : null))
    const parts = [0, 1, 2].map((i) => f(med(a.map((r) => r.cpu_parts[i])), 2)).join(', ')
    const cells = [
      m,
      p,
      f(rate),
      rng(a.map((r) => Math.round(r.rate))),
      steps ? f(rate * steps) : '',
      steps ? f(med(share), 2) : '',
      med(faster) === null ? '' : `${f(med(faster), 1)} x`,
      f(med(a.map((r) => r.cpu1000)), 2),
      parts,
      f(med(a.map((r) => r.wal_per ?? r.disk_per))),
      a.length,
    ]
    lines.push([rate, `| ${cells.join(' | ')} |`])
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
const kills = rows.filter((r) => r.m === 'kill9')
if (kills.length) {
  console.log(
    '\n## kill -9 inside a step: seconds until another worker enters it\n| peer | case | how | trials | p50 | most |\n|---|---|---|---|---|---|',
  )
  for (const key of [...new Set(kills.map((r) => `${r.peer} | ${r.label} | ${r.how}`))]) {
    const trials = kills.filter((r) => `${r.peer} | ${r.label} | ${r.how}` === key)
    const secs = trials.map((r) => r.secs).filter((s) => s !== null && s !== undefined)
    const missed = trials.filter((r) => r.err).map((r) => r.err)
    const most = missed[0] ?? (secs.length ? f(Math.max(...secs), 2) : '-')
    console.log(`| ${key} | ${trials.length} | ${f(med(secs), 2)} | ${most} |`)
  }
}
const er = rows.filter((r) => r.error)
if (er.length)
  console.log(
    '\n## errors\n' + er.map((r) => `- ${r.peer} ${r.m} round ${r.round}: ${r.error.slice(0, 160)}`).join('\n'),
  )
