// Many subscribers of one `fermata serve --role api`: what idle ones cost, and a storm of them that come back at once.
//
//   node subscribers.mjs HOST:PORT TOKEN SERVER_PID idle 10000
//   node subscribers.mjs HOST:PORT TOKEN SERVER_PID storm 5000 200
//
// `storm` needs that many events in the stream already: each subscriber leaves and comes back with a cursor that lies
// so many events back, and must get exactly these, in order.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'

const [address, token, pid, what, count, behind = '200'] = process.argv.slice(2)
const [host, port] = address.split(':')
const N = Number(count)
const OPENING_AT_ONCE = 200 // at first; in a storm all come back at once

/** Resident memory of the server, bytes. */
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
/** Processor time of the server, ms. */
const cpu = () => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** A WebSocket (RFC 6455) that gives each text frame to `hear`. */
function open(hear) {
  return new Promise((done, failed) => {
    const key = randomBytes(16).toString('base64')
    const socket = net.connect(Number(port), host)
    let rest = Buffer.alloc(0)
    let greeted = false
    const say = (text) => {
      const body = Buffer.from(text)
      const mask = randomBytes(4)
      for (let n = 0; n < body.length; n++) body[n] ^= mask[n % 4]
      const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255]
      socket.write(Buffer.concat([Buffer.from(head), mask, body]))
    }
    socket.on('error', failed)
    socket.on('close', () => failed(new Error('closed')))
    socket.on('connect', () =>
      socket.write(
        `GET /v1/stream HTTP/1.1\r\nhost: ${address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
          `sec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\nauthorization: Bearer ${token}\r\n\r\n`,
      ),
    )
    socket.on('data', (data) => {
      rest = rest.length ? Buffer.concat([rest, data]) : data
      if (!greeted) {
        const end = rest.indexOf('\r\n\r\n')
        if (end < 0) return
        const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        const head = rest.subarray(0, end).toString()
        if (!head.startsWith('HTTP/1.1 101') || !head.includes(answer)) return failed(new Error(head.split('\r\n')[0]))
        greeted = true
        rest = rest.subarray(end + 4)
        done({ say, close: () => socket.destroy() })
      }
      for (;;) {
        if (rest.length < 2) return
        let [size, from] = [rest[1] & 127, 2]
        if (size === 126) [size, from] = [rest.length < 4 ? Infinity : rest.readUInt16BE(2), 4]
        else if (size === 127) [size, from] = [rest.length < 10 ? Infinity : Number(rest.readBigUInt64BE(2)), 10]
        if (rest.length < from + size) return
        if ((rest[0] & 15) === 1) hear(JSON.parse(rest.subarray(from, from + size)))
        rest = rest.subarray(from + size)
      }
    })
  })
}

/** Subscribes; answers once it has caught up, with the cursors that came before. */
async function subscribe(cursor, hear = () => {}) {
  const cursors = []
  let line
  let told
  const caughtUp = new Promise((done) => (told = done))
  line = await open((frame) => {
    if (frame.op === 'event') (told ? cursors.push(frame.cursor) : hear(frame))
    else if (frame.op === 'caught_up') {
      told?.()
      told = undefined
    } else if (frame.op === 'problem' || frame.op === 'error') throw new Error(JSON.stringify(frame))
  })
  line.say(JSON.stringify({ op: 'subscribe', cursor, filter: {} }))
  await caughtUp
  return { ...line, cursors }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms))

if (what === 'idle') {
  await (await subscribe('latest')).close()
  await pause(1000)
  const empty = resident()
  const lines = []
  const began = performance.now()
  for (let n = 0; n < N; n += OPENING_AT_ONCE)
    lines.push(...(await Promise.all(Array.from({ length: Math.min(OPENING_AT_ONCE, N - n) }, () => subscribe('latest')))))
  const took = performance.now() - began
  await pause(2000)
  const [full, before] = [resident(), cpu()]
  await pause(30_000)
  console.log(
    JSON.stringify({
      subscribers: lines.length,
      opened_s: +(took / 1000).toFixed(2),
      empty_mib: +(empty / 2 ** 20).toFixed(1),
      mib: +(full / 2 ** 20).toFixed(1),
      kib_each: +((full - empty) / 1024 / N).toFixed(2),
      idle_cpu_ms_per_s: +((cpu() - before) / 30).toFixed(2),
    }),
  )
} else {
  const first = await subscribe('earliest')
  first.close()
  const wanted = first.cursors.slice(-Number(behind))
  const cursor = first.cursors.at(-1 - Number(behind)) ?? 'earliest'
  const lines = []
  for (let n = 0; n < N; n += OPENING_AT_ONCE)
    lines.push(...(await Promise.all(Array.from({ length: Math.min(OPENING_AT_ONCE, N - n) }, () => subscribe('latest')))))
  for (const line of lines) line.close()
  await pause(500)
  const [began, before] = [performance.now(), cpu()]
  const times = []
  let [wrong, failed] = [0, 0]
  await Promise.all(
    lines.map(async () => {
      // As a client does: tries again when it is refused.
      for (let tries = 0; ; tries++) {
        try {
          const line = await subscribe(cursor)
          times.push(performance.now() - began)
          if (JSON.stringify(line.cursors) !== JSON.stringify(wanted)) wrong += 1
          return
        } catch (error) {
          failed += 1
          if (tries === 20) throw error
          await pause(50 + Math.random() * 200)
        }
      }
    }),
  )
  times.sort((a, b) => a - b)
  const at = (share) => +(times[Math.ceil(times.length * share) - 1] / 1000).toFixed(2)
  console.log(
    JSON.stringify({
      subscribers: times.length,
      events_each: wanted.length,
      not_exact: wrong,
      refused_and_tried_again: failed,
      p50_s: at(0.5),
      p99_s: at(0.99),
      last_s: at(1),
      server_cpu_s: +((cpu() - before) / 1000).toFixed(2),
      server_mib: +(resident() / 2 ** 20).toFixed(1),
    }),
  )
}
process.exit(0)
