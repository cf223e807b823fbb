import { Absurd } from 'absurd-sdk'
import pg from 'pg'
import { execFileSync } from 'node:child_process'
import { mkInput, mkResult, envNum } from '../lib.mjs'
export const node = true
export const tuned = { POLL_S: '0.01', CONC: '64', POOL: '20', CLAIM_S: '120' }
export const defaults = { POLL_S: '0.25', CONC: '64', POOL: '20', CLAIM_S: '120' }
const quiet = { log() {}, info() {}, warn() {}, error() {} }
export async function setup(url) {
  const u = new URL(url)
  const conn = ['-h', u.hostname, '-p', u.port, '-U', u.username, '-d', u.pathname.slice(1)]
  execFileSync(process.env.ABSURDCTL ?? 'absurdctl', ['init', ...conn], { stdio: 'ignore' })
  const a = new Absurd({ db: url })
  await a.createQueue('q')
  await a.close()
}
export async function worker(h) {
  const pool = new pg.Pool({ connectionString: h.url, max: envNum('POOL', 20) })
  const app = new Absurd({ db: pool, queueName: 'q', log: quiet })
  for (const n of [0, 3, 10])
    app.registerTask({ name: 'w' + n }, async (inp, ctx) => {
      if (inp.mode === 'lat' && n === 0) h.started(inp.k)
      for (let i = 0; i < n; i++) await ctx.step('s' + i, async () => mkResult())
      h.ended()
      return mkResult()
    })
  app.registerTask({ name: 'sig' }, async (inp, ctx) => {
    h.say({ ev: 'waiting', k: inp.k })
    await ctx.awaitEvent('go:' + inp.k)
    await ctx.step('after', async () => {
      h.started(inp.k)
      return mkResult()
    })
  })
  app.registerTask({ name: 'hang' }, async (inp, ctx) => {
    await ctx.step('s1', async () => mkResult())
    await ctx.step('s2', async () => {
      await h.hang(2)
      return mkResult()
    })
    h.ended()
  })
  await app.startWorker({
    concurrency: envNum('CONC', 64),
    pollInterval: envNum('POLL_S', 0.25),
    claimTimeout: envNum('CLAIM_S', 120),
    onError() {},
  })
}
export async function client(url) {
  const pool = new pg.Pool({ connectionString: url, max: 32 })
  const app = new Absurd({ db: pool, queueName: 'q', log: quiet })
  return {
    async batch(q, n, mode) {
      // no bulk call: 100 spawns per transaction on one bound connection
      const k = await pool.connect(),
        b = app.bindToConnection(k)
      for (let i = 0; i < n; i += 100) {
        await k.query('BEGIN')
        for (let j = i; j < Math.min(n, i + 100); j++) await b.spawn(q, mkInput(j, mode), { queue: 'q' })
        await k.query('COMMIT')
      }
      k.release()
    },
    one: (q, k, mode) => app.spawn(q, mkInput(k, mode), { queue: 'q' }),
    wait: (r) => app.awaitTaskResult(r.taskID),
    async pending() {
      return +(
        await pool.query(`select count(*) from absurd.t_q where state not in ('completed','failed','cancelled')`)
      ).rows[0].count
    },
    signal: (_r, k) => app.emitEvent('go:' + k, { approved: true }),
    close: () => pool.end(),
  }
}
