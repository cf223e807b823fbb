import * as restate from '@restatedev/restate-sdk'
import * as clients from '@restatedev/restate-sdk-clients'
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import fs from 'node:fs'
import path from 'node:path'
import { mkInput, mkResult, envNum, sleep } from '../lib.mjs'
export const node = true,
  noPg = true
export const tuned = { RESTATE_DEFAULT_NUM_PARTITIONS: '4' }
export const defaults = {}
const P = () => envNum('RESTATE_PORT_BASE', 18080) // ingress P, admin P+1, node P+2, sdk endpoint P+3
export async function startServer(tmp, env = {}) {
  const req = createRequire(import.meta.url)
  const bin = path.join(
    path.dirname(req.resolve('@restatedev/restate-server-linux-x64/package.json')),
    'bin',
    'restate-server',
  )
  const dir = fs.mkdtempSync(path.join(tmp, 'restate-'))
  const p = spawn(bin, ['--no-logo', '--listen-mode', 'tcp', '--base-dir', dir, '--node-name', 'n1'], {
    stdio: ['ignore', fs.openSync(path.join(tmp, 'restate.log'), 'w'), 'inherit'],
    env: {
      ...process.env,
      ...env,
      DO_NOT_TRACK: '1',
      RESTATE_DISABLE_TELEMETRY: 'true',
      RUST_LOG: 'warn',
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${P()}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${P() + 1}`,
      RESTATE_BIND_ADDRESS: `127.0.0.1:${P() + 2}`,
      RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${P() + 2}/`,
      RESTATE_AUTO_PROVISION: 'true',
    },
  })
  for (let i = 0; i < 300; i++) {
    try {
      if (
        (await fetch(`http://127.0.0.1:${P() + 1}/health`)).ok &&
        (await fetch(`http://127.0.0.1:${P()}/restate/health`)).ok
      )
        break
    } catch {}
    await sleep(100)
  }
  return { proc: p, dir }
}
export async function register() {
  for (let i = 0; i < 50; i++) {
    const r = await fetch(`http://127.0.0.1:${P() + 1}/deployments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ uri: `http://127.0.0.1:${P() + 3}`, force: true }),
    }).catch(() => null)
    if (r?.ok) return
    if (i === 49) throw new Error('register failed ' + (r && (await r.text())))
    await sleep(100)
  }
}
export async function worker(h) {
  const flow = (n) => async (ctx, inp) => {
    if (inp.mode === 'lat' && n === 0) h.started(inp.k)
    for (let i = 0; i < n; i++) await ctx.run('s' + i, async () => mkResult())
    h.ended()
    return mkResult()
  }
  const svc = restate.service({
    name: 'b',
    handlers: {
      w0: flow(0),
      w3: flow(3),
      w10: flow(10),
      sig: async (ctx, inp) => {
        const a = ctx.awakeable()
        h.say({ ev: 'waiting', k: inp.k, id: a.id })
        await a.promise
        await ctx.run('after', async () => {
          h.started(inp.k)
          return mkResult()
        })
      },
      hang: async (ctx) => {
        await ctx.run('s1', async () => mkResult())
        await ctx.run('s2', async () => {
          await h.hang(2)
          return mkResult()
        })
        h.ended()
      },
    },
  })
  restate.setLogger?.(() => {})
  await restate.serve({ services: [svc], port: envNum('SDK_PORT', P() + 3) })
}
export async function client() {
  const ing = clients.connect({ url: `http://127.0.0.1:${P()}` })
  const send = ing.serviceSendClient({ name: 'b' }),
    call = ing.serviceClient({ name: 'b' })
  return {
    async batch(q, n, mode) {
      // no bulk call: 64 concurrent one-way sends
      let k = 0
      await Promise.all(
        Array.from({ length: 64 }, async () => {
          while (k < n) await send[q](mkInput(k++, mode))
        }),
      )
    },
    one: (q, k, mode) => send[q](mkInput(k, mode)),
    callWait: (q, k, mode) => call[q](mkInput(k, mode)), // request/response: submit and wait in one call
    async pending() {
      const r = await fetch(`http://127.0.0.1:${P() + 1}/query`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ query: "select count(*) as c from sys_invocation_status where status <> 'completed'" }),
      })
      return (await r.json()).rows[0].c
    },
    signal: (_r, _k, m) => ing.resolveAwakeable(m.id, { approved: true }),
    close: async () => {},
  }
}
