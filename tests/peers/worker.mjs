// one worker process of one peer: node worker.mjs <peer>
import readline from 'node:readline'
// Node 20 lacks this; the Restate SDK 1.17 uses it
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((a, b) => {
    resolve = a
    reject = b
  })
  return { promise, resolve, reject }
}
import { now } from './lib.mjs'
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')
let count = 0,
  target = -1
const h = {
  url: process.env.DATABASE_URL,
  say,
  started: (k) => say({ ev: 'start', k, t: now() }),
  ended: () => {
    if (++count === target) say({ ev: 'done', n: count, t: now() })
  },
  // body that is entered, reported, and (when HANG is set) never left: for the kill -9 test
  hang: async (step) => {
    say({ ev: 'hang', step, t: now() })
    if (process.env.HANG) await new Promise((r) => setTimeout(r, 3.6e6))
  },
}
for (const m of ['log', 'info', 'warn', 'debug'])
  console[m] = (...a) => process.env.VERBOSE && process.stderr.write(a.join(' ') + '\n')
const peer = await import(`./peers/${process.argv[2]}.mjs`)
const ext = (await peer.worker(h)) ?? {}
readline
  .createInterface({ input: process.stdin })
  .on('line', async (l) => {
    const m = JSON.parse(l)
    if (m.target !== undefined) {
      count = 0
      target = m.target
      say({ ev: 'armed' })
    }
    if (m.direct) {
      const r = await ext.direct(m)
      say({ ev: 'directdone', ...r })
    }
  })
  .on('close', () => process.exit(0))
say({ ev: 'ready', pid: process.pid })
