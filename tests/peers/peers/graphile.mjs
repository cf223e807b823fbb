import { run, makeWorkerUtils, Logger } from 'graphile-worker'
import pg from 'pg'
import { mkInput, envNum } from '../lib.mjs'
export const node = true
// the settings its own performance page uses
export const tuned = { CONC: '24', LOCALQ: '500', BATCHDELAY: '0' }
export const defaults = { CONC: '24', LOCALQ: '-1', BATCHDELAY: '-1' }
const logger = new Logger(() => () => {})
export async function setup(url) {
  const u = await makeWorkerUtils({ connectionString: url, logger })
  await u.migrate()
  await u.release()
}
export async function worker(h) {
  const chain =
    (n) =>
    async (p, { addJob }) => {
      // hand-rolled steps: each job inserts the next one
      const s = p.s ?? 1
      if (s < n) await addJob('w' + n, { ...p, s: s + 1 })
      else h.ended()
    }
  await run({
    connectionString: h.url,
    concurrency: envNum('CONC', 24),
    maxPoolSize: envNum('CONC', 24) + 1,
    noHandleSignals: true,
    logger,
    preset: {
      worker: {
        ...(envNum('LOCALQ', -1) > 0 ? { localQueue: { size: envNum('LOCALQ', 500) } } : {}),
        completeJobBatchDelay: envNum('BATCHDELAY', -1),
        failJobBatchDelay: envNum('BATCHDELAY', -1),
      },
    },
    taskList: {
      w0: async (p) => {
        if (p.mode === 'lat') h.started(p.k)
        h.ended()
      },
      w3: chain(3),
      w10: chain(10),
      hang: async () => {
        await h.hang(1)
        h.ended()
      },
    },
  })
}
export async function client(url) {
  const pool = new pg.Pool({ connectionString: url, max: 32 })
  const u = await makeWorkerUtils({ pgPool: pool, logger })
  return {
    async batch(q, n, mode) {
      for (let i = 0; i < n; i += 100)
        await u.addJobs(
          Array.from({ length: Math.min(100, n - i) }, (_, j) => ({ identifier: q, payload: mkInput(i + j, mode) })),
        )
    },
    one: (q, k, mode) => u.addJob(q, mkInput(k, mode)),
    async pending() {
      return +(await pool.query('select count(*) from graphile_worker._private_jobs')).rows[0].count
    },
    async close() {
      await u.release()
      await pool.end()
    },
  }
}
