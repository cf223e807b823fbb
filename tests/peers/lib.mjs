import fs from 'node:fs'
import { spawn } from 'node:child_process'
import readline from 'node:readline'
import { EventEmitter } from 'node:events'

// CLOCK_MONOTONIC in microseconds: comparable between processes on one machine
export const now = () => Number(process.hrtime.bigint() / 1000n)
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms))
export const mkInput = (k, mode = 'w') => ({ k, mode, pad: 'x'.repeat(170) }) // ~200 bytes of JSON
export const mkResult = () => ({ ok: true, pad: 'r'.repeat(70) }) // ~100 bytes of JSON
export const envNum = (k, d) => (process.env[k] === undefined ? d : Number(process.env[k]))

export function quantile(a, q) {
  if (!a.length) return null
  const s = [...a].sort((x, y) => x - y)
  return s[Math.min(s.length - 1, Math.floor(q * s.length))]
}

// ---- CPU time from /proc, in seconds
const HZ = 100
function stat(pid) {
  try {
    const t = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    const f = t.slice(t.lastIndexOf(')') + 2).split(' ')
    return { ppid: +f[1], self: (+f[11] + +f[12]) / HZ, reaped: (+f[13] + +f[14]) / HZ }
  } catch {
    return null
  }
}
export function cpuTree(pid) {
  // the process, its live children, and children it has already reaped
  const me = stat(pid)
  if (!me) return 0
  let sum = me.self + me.reaped
  for (const d of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(d)) continue
    const s = stat(d)
    if (s && s.ppid === pid) sum += s.self + s.reaped
  }
  return sum
}
export const cpuOne = (pid) => stat(pid)?.self ?? 0
export const loadavg = () => fs.readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 2).join(' ')

// ---- a child process that speaks JSON lines
export class Proc extends EventEmitter {
  constructor(cmd, args, env = {}) {
    super()
    this.setMaxListeners(0)
    this.p = spawn(cmd, args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', process.env.VERBOSE ? 'inherit' : 'pipe'],
    })
    this.errTail = ''
    this.p.stderr?.on('data', (d) => {
      this.errTail = (this.errTail + d).slice(-3000)
    })
    readline.createInterface({ input: this.p.stdout }).on('line', (l) => {
      if (l[0] !== '{') return
      let m
      try {
        m = JSON.parse(l)
      } catch {
        return
      }
      if (m.ev) this.emit(m.ev, m)
    })
    this.p.on('exit', (c, s) => {
      this.dead = true
      this.emit('exit', c, s)
    })
  }
  get pid() {
    return this.p.pid
  }
  send(o) {
    this.p.stdin.write(JSON.stringify(o) + '\n')
  }
  next(ev, ms = 120000, pred = () => true) {
    return new Promise((res, rej) => {
      const on = (m) => {
        if (pred(m)) {
          off()
          res(m)
        }
      }
      const bye = (c) => {
        off()
        rej(new Error(`exited ${c} waiting for ${ev}: ${this.errTail.slice(-800)}`))
      }
      const t = setTimeout(() => {
        off()
        rej(new Error(`timeout waiting for ${ev}: ${this.errTail.slice(-400)}`))
      }, ms)
      const off = () => {
        clearTimeout(t)
        this.off(ev, on)
        this.off('exit', bye)
      }
      this.on(ev, on)
      this.on('exit', bye)
    })
  }
  kill(sig = 'SIGKILL') {
    if (!this.dead) {
      try {
        process.kill(this.pid, sig)
      } catch {}
    }
  }
}
