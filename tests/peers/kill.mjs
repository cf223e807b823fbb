// kill -9 a worker inside a step; how long until another worker enters that step?
// node kill.mjs <peer> <label> <limit seconds> [standby|restart]     (peer settings through X_NAME=value)
import fs from 'node:fs'
import net from 'node:net'
import pg from 'pg'
import { Proc, now, sleep, mkInput } from './lib.mjs'
const [peerName, label, limit, how = 'standby'] = process.argv.slice(2)
const P = await import(`./peers/${peerName}.mjs`)
const cfg = {
  ...P.tuned,
  ...Object.fromEntries(
    Object.entries(process.env)
      .filter(([k]) => k.startsWith('X_'))
      .map(([k, v]) => [k.slice(2), v]),
  ),
}
Object.assign(process.env, cfg)
const base = process.env.PG_BASE,
  root = new pg.Client({ connectionString: base + '/postgres' })
await root.connect()
const db = `k_${peerName}_${process.pid}`
await root.query(`create database ${db}`)
const url = `${base}/${db}`
let server, lb
const all = []
try {
  if (P.startServer) {
    process.env.RESTATE_PORT_BASE ??= String(20000 + Math.floor(Math.random() * 5000) * 2)
    server = await P.startServer(process.env.TMP_DIR, cfg)
    const B = +process.env.RESTATE_PORT_BASE // a plain TCP balancer in front of two endpoints, as any deployment has
    lb = net
      .createServer((s) => {
        const go = (ports) => {
          if (!ports.length) return s.destroy()
          const o = net.connect(ports[0], '127.0.0.1')
          let up = false
          o.on('connect', () => {
            up = true
            s.pipe(o)
            o.pipe(s)
          })
          o.on('error', () => (up ? s.destroy() : go(ports.slice(1))))
          o.on('close', () => up && s.destroy())
          s.on('error', () => o.destroy())
        }
        go([B + 4, B + 5])
      })
      .listen(B + 3, '127.0.0.1')
  }
  await P.setup?.(url)
  let i = 0
  const mk = (hang) => {
    const env = {
      ...cfg,
      DATABASE_URL: url,
      ...(hang ? { HANG: '1' } : {}),
      ...(server ? { SDK_PORT: String(+process.env.RESTATE_PORT_BASE + 4 + i++) } : {}),
    }
    if (peerName === 'dbos' && how === 'standby') env.EXEC_ID = hang ? 'exec-a' : 'exec-b'
    const w = P.spawnWorker ? P.spawnWorker(env) : new Proc(process.execPath, ['worker.mjs', peerName], env)
    all.push(w)
    return w
  }
  const A = mk(true)
  await A.next('ready')
  if (P.register) await P.register()
  const C = await P.client(url)
  await sleep(500)
  const hung = A.next('hang', 30000)
  await C.one(peerName === 'apalis' ? 'w0' : 'hang', 0, 'hang')
  await hung
  await sleep(500)
  let B
  if (how === 'standby') {
    B = mk(false)
    await B.next('ready')
    await sleep(1500)
  }
  await sleep(Math.random() * 2000) // so that no peer's own rhythm is met at the same point each time
  const t0 = now()
  A.kill('SIGKILL')
  if (how === 'restart') {
    B = mk(false)
  }
  let secs = null,
    err
  try {
    secs = +(((await B.next('hang', limit * 1000)).t - t0) / 1e6).toFixed(2)
  } catch (e) {
    err = `not taken over within ${limit} s`
  }
  console.log(JSON.stringify({ peer: peerName, m: 'kill9', label, how, secs, err }))
} catch (e) {
  console.log(JSON.stringify({ peer: peerName, m: 'kill9', label, how, err: String(e.message).slice(0, 400) }))
} finally {
  for (const w of all) w.kill()
  if (server) {
    server.proc.kill('SIGKILL')
    fs.rmSync(server.dir, { recursive: true, force: true })
  }
  await sleep(200)
  await root.query(`drop database ${db} with (force)`)
  process.exit(0)
}
