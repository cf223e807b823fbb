// node picture.mjs file.jsonl… : an SVG of steps per second of each peer, medians with the range over the rounds
import fs from 'node:fs'

const lines = process.argv.slice(2).flatMap((file) => fs.readFileSync(file, 'utf8').split('\n'))
const rows = lines.filter((line) => line[0] === '{').map((line) => JSON.parse(line))
const NAMES = {
  fermata: 'Fermata',
  dbos: 'DBOS (queue)',
  'dbos-direct': 'DBOS (in process)',
  absurd: 'Absurd',
  restate: 'Restate',
  apalis: 'apalis-workflow',
  graphile: 'graphile-worker (chained jobs)',
}
const WIDTH = 860
const LEFT = 220
const BAR = 20
const ROW = 30
const TOP = 54

const sorted = (numbers) => [...numbers].sort((a, b) => a - b)
const median = (numbers) => {
  const all = sorted(numbers)
  const middle = all.length >> 1
  return all.length % 2 ? all[middle] : (all[middle - 1] + all[middle]) / 2
}
const measured = Object.keys(NAMES)
  .map((peer) => ({
    peer,
    rates: rows.filter((r) => r.m === 'w10' && r.peer === peer && r.rate).map((r) => r.rate * 10),
  }))
  .filter(({ rates }) => rates.length > 0)
  .map(({ peer, rates }) => ({ peer, rates: sorted(rates), middle: median(rates) }))
  .sort((a, b) => b.middle - a.middle)
const most = Math.max(...measured.flatMap(({ rates }) => rates), 1)
const x = (rate) => LEFT + (rate / most) * (WIDTH - LEFT - 90)
const height = TOP + measured.length * ROW + 34

const bars = measured.map(({ peer, rates, middle }, n) => {
  const y = TOP + n * ROW
  const colour = peer === 'fermata' ? '#0b6e4f' : '#8a94a6'
  const centre = y + BAR / 2
  return [
    `<text x="${LEFT - 10}" y="${centre + 4}" text-anchor="end">${NAMES[peer]}</text>`,
    `<rect x="${LEFT}" y="${y}" width="${(x(middle) - LEFT).toFixed(1)}" height="${BAR}" fill="${colour}"/>`,
    `<line x1="${x(rates[0]).toFixed(1)}" x2="${x(rates.at(-1)).toFixed(1)}" y1="${centre}" y2="${centre}" stroke="#1b1f27" stroke-width="2"/>`,
    `<text x="${(x(rates.at(-1)) + 8).toFixed(1)}" y="${centre + 4}">${Math.round(middle).toLocaleString('en')}</text>`,
  ].join('\n  ')
})
const rounds = Math.max(...measured.map(({ rates }) => rates.length), 0)
console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#1b1f27">
  <rect width="100%" height="100%" fill="#ffffff"/>
  <text x="16" y="24" font-size="16" font-weight="600">Durable steps per second: runs of ten steps, the same machine and rounds</text>
  <text x="16" y="42" fill="#5a6372">median of ${rounds} rounds; the line is the range; fsync and synchronous_commit on</text>
  ${bars.join('\n  ')}
  <text x="16" y="${height - 12}" fill="#5a6372">More is better. How it was measured: tests/peers/README.md</text>
</svg>`)
