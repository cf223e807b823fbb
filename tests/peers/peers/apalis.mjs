import pg from 'pg'
import { execFileSync } from 'node:child_process'
import { Proc, mkInput } from '../lib.mjs'
export const BIN = process.env.APALIS_BENCH
export const tuned = { CONC: '1000', BATCH: '500', POLL_MS: '50', POOL: '24' }
export const defaults = { CONC: '200', BATCH: '10', POLL_MS: '1000' }
export async function setup(url) {
  execFileSync(BIN, ['setup'], { env: { ...process.env, DATABASE_URL: url } })
}
export const spawnWorker = (env) => new Proc(BIN, ['worker'], env)
export async function client(url) {
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  const c = new Proc(BIN, ['client'], { DATABASE_URL: url })
  await c.next('ready')
  const ask = async (o) => {
    const p = c.next('ok')
    c.send(o)
    return p
  }
  return {
    pids: [c.pid],
    batch: (q, n, mode) => ask({ op: 'batch', queue: q, n, input: mkInput(0, mode) }),
    single: (q, n) => ask({ op: 'single', queue: q, n, input: mkInput(0) }),
    lat: (q, k, wait) => ask({ op: 'lat', queue: q, input: mkInput(k, 'lat'), wait }),
    one: (q, k, mode) => ask({ op: 'lat', queue: q, input: mkInput(k, mode) }),
    async pending() {
      return +(await pool.query(`select count(*) from apalis.jobs where status <> 'Done'`)).rows[0].count
    },
    async close() {
      c.p.stdin.end()
      c.kill('SIGTERM')
      await pool.end()
    },
  }
}
