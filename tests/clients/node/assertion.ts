// What a driver says: one line for each assertion, and an end that is not zero when one does not hold.

import { isDeepStrictEqual } from "node:util";

let held = 0;

/** A line for an assertion that holds; the end of the driver for one that does not. */
export function holds(sentence: string, condition: boolean, seen?: unknown): asserts condition {
  if (!condition) {
    console.log(`FAILED  ${sentence}${seen === undefined ? "" : `: ${JSON.stringify(seen)}`}`);
    // At once: what stands on a broken assertion has nothing more to say.
    process.exit(1);
  }
  held += 1;
  console.log(`ok      ${sentence}`);
}

/** The same for two values; shows both when they differ. */
export function same(sentence: string, seen: unknown, wanted: unknown): void {
  holds(sentence, isDeepStrictEqual(seen, wanted), { seen, wanted });
}

/** The same for two lists; shows the first place at which they differ. */
export function sameList(sentence: string, seen: readonly unknown[], wanted: readonly unknown[]): void {
  const longer = Math.max(seen.length, wanted.length);
  const at = Array.from({ length: longer }, (_, n) => n).find((n) => !isDeepStrictEqual(seen[n], wanted[n]));
  const shown = { lengths: [seen.length, wanted.length], at, seen: seen[at ?? 0], wanted: wanted[at ?? 0] };
  holds(`${sentence} (${wanted.length})`, at === undefined, shown);
}

/** The last line. A driver that asserted nothing has shown nothing. */
export function finish(driver: string): never {
  console.log(`${driver}: ${held} assertions held`);
  process.exit(held > 0 ? 0 : 1);
}

// A promise that nobody waits for must not end a driver well.
process.on("unhandledRejection", (reason) => {
  console.log(`FAILED  nothing is thrown: ${reason instanceof Error ? reason.stack : String(reason)}`);
  process.exit(1);
});
