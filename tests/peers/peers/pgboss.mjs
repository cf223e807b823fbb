import { PgBoss } from 'pg-boss'
import pg from 'pg'
import { mkInput, mkResult, envNum } from '../lib.mjs'
export const node = true
export const tuned = { BATCH: '500', CONC: '4', POLL_S: '0.5' } // 0.5 s is the smallest poll it accepts
export const defaults = { BATCH: '1', CONC: '1', POLL_S: '2' }
const qs = ['w0', 'hang']
const mk = (url) => {
  const b = new PgBoss({
    connectionString: url,
    max: 20,
    ...(process.env.BOSS_OPTS ? JSON.parse(process.env.BOSS_OPTS) : {}),
  })
  b.on('error', () => {})
  return b
}
export async function setup(url) {
  const b = mk(url)
  await b.start()
  for (const q of qs) await b.createQueue(q, process.env.QUEUE_OPTS ? JSON.parse(process.env.QUEUE_OPTS) : {})
  await b.stop({ graceful: false })
}
export async function worker(h) {
  const b = mk(h.url)
  await b.start()
  const o = {
    batchSize: envNum('BATCH', 1),
    localConcurrency: envNum('CONC', 1),
    pollingIntervalSeconds: envNum('POLL_S', 2),
  }
  await b.work('w0', o, async (jobs) => {
    for (const j of jobs) {
      if (j.data.mode === 'lat') h.started(j.data.k)
      h.ended()
    }
    return mkResult()
  })
  await b.work('hang', { ...o, batchSize: 1 }, async () => {
    await h.hang(1)
    h.ended()
  })
}
export async function client(url) {
  const b = new PgBoss({ connectionString: url, max: 32, supervise: false, schedule: false, migrate: false })
  b.on('error', () => {})
  await b.start()
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  return {
    async batch(q, n, mode) {
      for (let i = 0; i < n; i += 100)
        await b.insert(
          q,
          Array.from({ length: Math.min(100, n - i) }, (_, j) => ({ data: mkInput(i + j, mode) })),
        )
    },
    one: (q, k, mode) => b.send(q, mkInput(k, mode)),
    async pending() {
      return +(
        await pool.query(
          `select count(*) from pgboss.job where name in ('w0','hang') and state not in ('completed','failed','cancelled')`,
        )
      ).rows[0].count
    },
    async close() {
      await b.stop({ graceful: false })
      await pool.end()
    },
  }
}
