// A line between client and server that breaks, at any byte and at any time: in the handshake, inside of a
// frame, or while nothing is said. A client's own `close` would be too well-mannered for what is shown here.

import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { Chance } from "./chance.js";

/** A port of ours that leads to the server. */
export class Relay {
  /** How many connections were cut. */
  cuts = 0;
  /** How many of them in the middle of what the server said. */
  inside = 0;
  private breaks = true;
  private readonly server: Server;
  private readonly open = new Set<() => void>();

  private constructor(
    private readonly target: { host: string; port: number },
    private readonly chance: Chance,
  ) {
    this.server = createServer((client) => this.carry(client));
  }

  /** Listens on a free port. */
  static async to(url: string, chance: Chance): Promise<Relay> {
    const { hostname, port } = new URL(url);
    const relay = new Relay({ host: hostname, port: Number(port) }, chance);
    await new Promise<void>((ready) => relay.server.listen(0, "127.0.0.1", ready));
    return relay;
  }

  /** Where clients connect to. */
  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** From now on the line holds. */
  hold(): void {
    this.breaks = false;
  }

  /** Breaks what is open and takes nobody in any more. */
  close(): void {
    this.server.close();
    this.open.forEach((end) => end());
  }

  private carry(client: Socket): void {
    const server = connect(this.target);
    // Some lines break in the handshake, most a few events later, and a silent one after a while.
    let bytes = this.chance.oneIn(8) ? this.chance.between(1, 400) : this.chance.between(400, 24_000);
    const abruptly = this.chance.oneIn(2);
    const end = () => {
      clearTimeout(timer);
      this.open.delete(end);
      for (const socket of [client, server]) {
        if (abruptly) {
          socket.resetAndDestroy();
        } else {
          socket.destroy();
        }
      }
    };
    const cut = () => {
      if (this.breaks && this.open.has(end)) {
        this.cuts += 1;
        end();
      }
    };
    const timer = setTimeout(cut, this.chance.between(5, 200));
    this.open.add(end);
    client.on("data", (chunk) => server.write(chunk));
    server.on("data", (chunk: Buffer) => {
      if (!this.breaks || chunk.length < bytes) {
        bytes -= chunk.length;
        client.write(chunk);
        return;
      }
      // The client gets the first part, so that it has half a frame when the line breaks.
      server.removeAllListeners("data");
      client.write(chunk.subarray(0, bytes), () => {
        this.inside += 1;
        cut();
      });
    });
    for (const socket of [client, server]) {
      socket.on("error", end);
      socket.on("close", end);
    }
  }
}
