// Where the server is and who we are, and waiting for what it will show.

import { setTimeout as pause } from "node:timers/promises";

const PATIENCE_MS = 60_000;

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    throw new Error(`${name} is not set: README.md says how a driver is started`);
  }
  return value;
}

/** `http://…`: the control port. */
export const control = setting("FERMATA_CONTROL");
/** A token with every scope. */
export const token = setting("FERMATA_TOKEN");
/** Apart from the names of every other run against the same server. */
export const run = `run-${process.pid}-${Date.now()}`;

/** Asks until there is an answer, and throws when there is none in time. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${PATIENCE_MS / 1000} s: ${what}`);
    }
    await pause(20);
  }
}
