// A wire that is slow: passes bytes on after a time, as a network between two places does.
//
//   node slow.mjs LISTEN_PORT HOST:PORT MS      (MS each way)
import net from 'node:net'

const [listen, target, ms] = process.argv.slice(2)
const [host, port] = target.split(':')

/** In order, each piece as late as the wire is long. */
const pass = (from, to) => {
  from.on('data', (data) => setTimeout(() => to.writable && to.write(data), Number(ms)))
  from.on('close', () => setTimeout(() => to.destroy(), Number(ms)))
  from.on('error', () => to.destroy())
}
net
  .createServer((near) => {
    const far = net.connect(Number(port), host)
    near.setNoDelay(true)
    far.setNoDelay(true)
    pass(near, far)
    pass(far, near)
  })
  .listen(Number(listen), '127.0.0.1')
