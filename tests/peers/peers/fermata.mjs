// Fermata itself: the programs of ../fermata, a client and a worker in two processes
import pg from 'pg'
import { execFileSync } from 'node:child_process'
import { Proc } from '../lib.mjs'

const BIN = process.env.FERMATA_PEER
export const tuned = { CONC: '1024', LANES: '2' }
export const defaults = { CONC: '1024', LANES: '2' }

export async function setup(url) {
  execFileSync(BIN, ['setup'], { env: { ...process.env, DATABASE_URL: url } })
}
export const spawnWorker = (env) => new Proc(BIN, ['worker'], env)

export async function client(url) {
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  const c = new Proc(BIN, ['client'], { DATABASE_URL: url })
  await c.next('ready')
  const ask = async (order) => {
    const answer = c.next('ok')
    c.send(order)
    return answer
  }
  return {
    pids: [c.pid],
    batch: (queue, n, mode) => ask({ op: 'batch', queue, n, mode }),
    single: (queue, n) => ask({ op: 'single', queue, n }),
    lat: (queue, k, wait) => ask({ op: 'one', queue, k, mode: 'lat', wait }),
    one: (queue, k, mode) => ask({ op: 'one', queue, k, mode }),
    idOf: (answer) => answer.id,
    signal: (id) => ask({ op: 'signal', id }),
    async pending() {
      return +(await pool.query('select count(*) from fermata.live')).rows[0].count
    },
    async close() {
      c.p.stdin.end()
      c.kill('SIGTERM')
      await pool.end()
    },
  }
}
