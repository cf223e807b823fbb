// Chance with a seed: the same seed draws the same numbers, so that a failure can be looked at again.

import { holds } from "./assertion.js";

/** Draws numbers by mulberry32, which is short, and random enough for where to cut. */
export class Chance {
  constructor(private state: number) {}

  /** The chance of this run: the seed is in the environment, or 1. */
  static ofEnvironment(): Chance {
    const seed = Number(process.env["FERMATA_SEED"] ?? "1");
    holds(`the seed is a number: FERMATA_SEED=${seed}`, Number.isSafeInteger(seed));
    return new Chance(seed);
  }

  /** A whole number of at least `from` and below `to`. */
  between(from: number, to: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return from + Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * (to - from));
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.between(0, n) === 0;
  }
}
