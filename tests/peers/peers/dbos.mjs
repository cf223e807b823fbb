import { DBOS, DBOSClient } from '@dbos-inc/dbos-sdk'
import pg from 'pg'
import { mkInput, mkResult, now, envNum } from '../lib.mjs'
export const node = true
export const tuned = { POLL_MS: '100', CONC: '500', POOL: '40', EXEC_ID: 'local' }
export const defaults = { POLL_MS: '1000', CONC: '200', POOL: '10', EXEC_ID: 'local' }
export async function setup(url) {
  await DBOS.migrate(url)
}
export async function worker(h) {
  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: h.url,
    systemDatabasePoolSize: envNum('POOL', 10),
    logLevel: 'error',
    applicationVersion: 'v1',
    executorID: process.env.EXEC_ID ?? 'local',
  })
  const step = (i) => DBOS.runStep(async () => mkResult(), { name: 's' + i })
  const flow = (n) => async (inp) => {
    if (inp.mode === 'lat' && n === 0) h.started(inp.k)
    for (let i = 0; i < n; i++) await step(i)
    h.ended()
    return mkResult()
  }
  const w = {}
  for (const n of [0, 3, 10]) w['w' + n] = DBOS.registerWorkflow(flow(n), { name: 'w' + n })
  DBOS.registerWorkflow(
    async (inp) => {
      h.say({ ev: 'waiting', k: inp.k })
      await DBOS.recv('go', 3600)
      await DBOS.runStep(
        async () => {
          h.started(inp.k)
          return mkResult()
        },
        { name: 'after' },
      )
    },
    { name: 'sig' },
  )
  DBOS.registerWorkflow(
    async (inp) => {
      await step(1)
      await DBOS.runStep(
        async () => {
          await h.hang(2)
          return mkResult()
        },
        { name: 's2' },
      )
      h.ended()
    },
    { name: 'hang' },
  )
  await DBOS.launch()
  await DBOS.registerQueue('q', {
    workerConcurrency: envNum('CONC', 200),
    minPollingIntervalMs: envNum('POLL_MS', 1000),
    onConflict: 'always_update',
  })
  return {
    // no queue: the application process itself starts the workflows, `conc` at a time
    async direct({ queue, n, conc, lat }) {
      const run = w[queue]
      const t0 = now()
      let k = 0
      const vis = []
      await Promise.all(
        Array.from({ length: conc }, async () => {
          while (k < n) {
            const i = k++,
              inp = mkInput(i, lat ? 'lat' : 'w'),
              s = now()
            if (lat) h.say({ ev: 'submit', k: i, t: s })
            await run(inp)
            if (lat) {
              vis.push(now() - s)
              await new Promise((r) => setTimeout(r, 5 + Math.random() * 20))
            }
          }
        }),
      )
      return { t0, t1: now(), vis }
    },
  }
}
export async function client(url) {
  const c = await DBOSClient.create({ systemDatabaseUrl: url, systemDatabasePoolSize: 32, applicationName: 'bench' })
  const pool = new pg.Pool({ connectionString: url, max: 4 })
  const opt = (q) => ({ queueName: 'q', workflowName: q })
  return {
    async batch(q, n, mode) {
      // 100 enqueues per transaction through the documented in-transaction call
      const k = await pool.connect()
      for (let i = 0; i < n; i += 100) {
        await k.query('BEGIN')
        for (let j = i; j < Math.min(n, i + 100); j++) await c.enqueueInTransaction(k, opt(q), mkInput(j, mode))
        await k.query('COMMIT')
      }
      k.release()
    },
    one: (q, k, mode) => c.enqueue(opt(q), mkInput(k, mode)),
    wait: (hd) => hd.getResult(process.env.CFG === 'default' ? undefined : { pollingIntervalMs: 10 }),
    async pending() {
      return +(await pool.query(`select count(*) from dbos.workflow_status where status in ('PENDING','ENQUEUED')`))
        .rows[0].count
    },
    idOf: (hd) => hd.workflowID,
    signal: (id) => c.send(id, { approved: true }, 'go'),
    async close() {
      await pool.end()
      await c.destroy()
    },
  }
}
