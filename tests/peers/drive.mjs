// one peer, one round: node drive.mjs <peer> <measure,measure,...>   (see run.sh)
import fs from 'node:fs'
import pg from 'pg'
import net from 'node:net'
import { Proc, now, sleep, quantile, cpuTree, cpuOne, loadavg, mkInput, envNum } from './lib.mjs'
const freeOne = (p) =>
  new Promise((r) => {
    const s = net
      .createServer()
      .once('error', () => r(false))
      .listen(p, '127.0.0.1', () => s.close(() => r(true)))
  })
async function freeBase() {
  for (;;) {
    const b = 20000 + Math.floor(Math.random() * 10000)
    if ((await Promise.all([0, 1, 2, 3].map((i) => freeOne(b + i)))).every(Boolean)) return b
  }
}
process.on('uncaughtException', (e) => {
  console.error(e)
  server?.proc.kill('SIGKILL')
  W?.kill()
  process.exit(1)
})
let server, W
const [peerName, list] = process.argv.slice(2)
const direct = peerName.endsWith('-direct') // the worker is its own client
const moduleName = direct ? peerName.slice(0, -'-direct'.length) : peerName
const P = await import(`./peers/${moduleName}.mjs`)
const cfgName = process.env.CFG ?? 'tuned'
const cfg = {
  ...(cfgName === 'default' ? P.defaults : P.tuned),
  ...Object.fromEntries(
    Object.entries(process.env)
      .filter(([k]) => k.startsWith('X_'))
      .map(([k, v]) => [k.slice(2), v]),
  ),
}
const base = process.env.PG_BASE,
  root = new pg.Client({ connectionString: base + '/postgres' })
await root.connect()
const db = `b_${peerName.replace('-', '_')}_${process.pid}`
await root.query(`create database ${db}`)
const url = `${base}/${db}`
const pm = +fs.readFileSync(process.env.PG_DATA + '/postmaster.pid', 'utf8').split('\n')[0]
if (P.startServer && !process.env.RESTATE_PORT_BASE) process.env.RESTATE_PORT_BASE = String(await freeBase())
if (P.startServer) server = await P.startServer(process.env.TMP_DIR, cfg)
if (P.setup) await P.setup(url)
W = P.spawnWorker
  ? P.spawnWorker({ ...cfg, DATABASE_URL: url })
  : new Proc(process.execPath, ['worker.mjs', moduleName], { ...cfg, DATABASE_URL: url })
await W.next('ready')
if (P.register) await P.register()
const C = await P.client(url)
await sleep(1200)
const wal = async () =>
  BigInt((await root.query(`select pg_wal_lsn_diff(pg_current_wal_insert_lsn(),'0/0')::bigint as w`)).rows[0].w)
const cpu = () => ({
  client: cpuOne(process.pid) + (C.pids ?? []).reduce((a, p) => a + cpuOne(p), 0),
  worker: cpuOne(W.pid),
  server: server ? cpuOne(server.proc.pid) : cpuTree(pm),
})
const wb = () => +(/\nwrite_bytes: (\d+)/.exec(fs.readFileSync(`/proc/${server.proc.pid}/io`, 'utf8'))?.[1] ?? 0)
const busy = () => {
  const f = fs.readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/).slice(1).map(Number)
  return (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / 100
} // s, whole machine
const ncpu = fs.readFileSync('/proc/stat', 'utf8').match(/^cpu\d/gm).length
const out = (o) => console.log(JSON.stringify({ round: process.env.ROUND, peer: peerName, cfg: cfgName, ...o }))
async function drained() {
  while ((await C.pending()) > 0) await sleep(3)
}
async function load(name, queue, n, how) {
  const armed = W.next('armed')
  W.send({ target: n })
  await armed
  const la = loadavg(),
    w0 = await wal(),
    c0 = cpu(),
    b0 = server ? wb() : 0,
    y0 = busy(),
    t0 = now(),
    done = W.next('done', 180000)
  let tq
  if (how === 'direct') {
    const r = W.next('directdone', 180000)
    W.send({ direct: 1, queue, n, conc: envNum('X_DCONC', 64) })
    await r
  } else if (how === 'batch') {
    await C.batch(queue, n, 'w')
  } else if (C.single) await C.single(queue, n)
  else {
    let k = 0
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        while (k < n) await C.one(queue, k++, 'w')
      }),
    )
  }
  tq = now()
  await done
  await drained()
  const t1 = now(),
    c1 = cpu(),
    y1 = busy(),
    w1 = await wal(),
    s = (t1 - t0) / 1e6
  out({
    m: name,
    n,
    secs: +s.toFixed(3),
    enq_s: +((tq - t0) / 1e6).toFixed(3),
    rate: +(n / s).toFixed(1),
    cpu1000: +(((c1.client - c0.client + (c1.worker - c0.worker) + (c1.server - c0.server)) * 1000) / n).toFixed(3),
    cpu_parts: [c1.client - c0.client, c1.worker - c0.worker, c1.server - c0.server].map(
      (x) => +((x * 1000) / n).toFixed(3),
    ),
    others: +(
      (y1 - y0 - (c1.client - c0.client) - (c1.worker - c0.worker) - (c1.server - c0.server)) /
      s /
      ncpu
    ).toFixed(3),
    wal_per: server ? null : Number((w1 - w0) / BigInt(n)),
    disk_per: server ? Math.round((wb() - b0) / n) : null,
    load: la,
  })
}
const K = envNum('SAMPLES', 200),
  gapMax = envNum('GAP_MS', 30)
async function lat() {
  const start = [],
    vis = []
  const wantWait = !!(C.wait || C.callWait || C.lat)
  if (direct) {
    const sub = new Map()
    W.on('submit', (m) => sub.set(m.k, m.t))
    W.on('start', (m) => sub.has(m.k) && start.push(m.t - sub.get(m.k)))
    const r = W.next('directdone')
    W.send({ direct: 1, queue: 'w0', n: K, conc: 1, lat: true })
    vis.push(...(await r).vis)
    await sleep(100)
  } else
    for (let k = 0; k < K; k++) {
      await sleep(5 + Math.random() * gapMax)
      const s = W.next('start', 30000, (m) => m.k === k)
      let t0 = now(),
        r
      if (C.lat) {
        r = await C.lat('w0', k, process.env.WAIT !== '0')
        t0 = r.t0
        if (r.t2) vis.push(r.t2 - r.t0)
      } else if (C.callWait) {
        await C.callWait('w0', k, 'lat')
        vis.push(now() - t0)
      } else {
        r = await C.one('w0', k, 'lat')
        if (C.wait && process.env.WAIT !== '0') {
          await C.wait(r)
          vis.push(now() - t0)
        }
      }
      start.push((await s).t - t0)
    }
  const ms = (a, q) => (a.length ? +(quantile(a, q) / 1000).toFixed(2) : null)
  out({
    m: 'lat',
    samples: K,
    start_p50: ms(start, 0.5),
    start_p99: ms(start, 0.99),
    vis_p50: ms(vis, 0.5),
    vis_p99: ms(vis, 0.99),
    wait_api: wantWait,
    load: loadavg(),
  })
}
async function idle() {
  // what an idle worker costs: CPU and committed transactions per second over 10 s
  const tx = async () =>
    +(await root.query('select xact_commit + xact_rollback as x from pg_stat_database where datname = $1', [db]))
      .rows[0].x
  await sleep(2500)
  const a = cpu(),
    x0 = await tx()
  await sleep(10000)
  const b = cpu(),
    x1 = await tx()
  out({
    m: 'idle',
    worker_ms_s: +((b.worker - a.worker) * 100).toFixed(1),
    server_ms_s: +((b.server - a.server) * 100).toFixed(1),
    tx_s: +((x1 - x0) / 10).toFixed(1),
  })
}
async function sig() {
  const d = []
  for (let k = 0; k < K; k++) {
    const wt = W.next('waiting', 30000, (m) => m.k === k)
    const r = await C.one('sig', k, 'sig'),
      m = await wt
    await sleep(60 + Math.random() * gapMax)
    const s = W.next('start', 30000, (x) => x.k === k),
      t0 = now()
    await C.signal(C.idOf ? C.idOf(r) : r, k, m)
    d.push((await s).t - t0)
  }
  out({
    m: 'sig',
    samples: K,
    p50: +(quantile(d, 0.5) / 1000).toFixed(2),
    p99: +(quantile(d, 0.99) / 1000).toFixed(2),
    load: loadavg(),
  })
}
try {
  const N0 = envNum('N0', 4000),
    N3 = envNum('N3', 1500),
    N10 = envNum('N10', 500)
  const how = direct ? 'direct' : 'batch'
  for (const m of list.split(',')) {
    try {
      if (m === 'warm') {
        for (const q of (process.env.WARM ?? 'w0').split(',')) {
          const a = W.next('armed')
          W.send({ target: 300 })
          await a
          const dn = W.next('done', 60000)
          direct ? W.send({ direct: 1, queue: q, n: 300, conc: 64 }) : await C.batch(q, 300, 'w')
          await dn
          await drained()
        }
      }
      if (m === 'w0') await load('w0', 'w0', N0, how)
      if (m === 'w0s') await load('w0s', 'w0', envNum('N0S', 2000), 'single')
      if (m === 'w3') await load('w3', 'w3', N3, how)
      if (m === 'w10') await load('w10', 'w10', N10, how)
      if (m === 'lat') await lat()
      if (m === 'sig') await sig()
      if (m === 'idle') await idle()
    } catch (e) {
      out({ m, error: String(e.message ?? e).slice(0, 500) })
    }
  }
} finally {
  W.kill('SIGKILL')
  await C.close().catch(() => {})
  if (server) {
    server.proc.kill('SIGKILL')
    fs.rmSync(server.dir, { recursive: true, force: true })
  }
  await sleep(100)
  await root.query(`drop database ${db} with (force)`)
  await root.end()
  process.exit(0)
}
