import type { LedgerEntry } from "../../core/ledger-event.ts";
import { noPrevious } from "./entry.ts";
import { hexOf } from "./hash.ts";
import type { Hash } from "./hash.ts";

/** `hash` as hexadecimal: bytes would keep those alive that they were allocated with. */
type Link = { readonly seq: number; readonly hash: string };

/**
 * Follows the chain of every run: `seq` dense from 0, `prev` the leaf hash of the run's entry before. It shows a gap inside a run
 * without any tree. Keeps one hash per run.
 */
export class RunChains {
  readonly #last = new Map<string, Link>();
  #closed = 0;

  get runs(): number {
    return this.#last.size;
  }

  get closed(): number {
    return this.#closed;
  }

  /** What is wrong with `entry` as its run's next one, or undefined. */
  follow(entry: LedgerEntry, leaf: Hash): string | undefined {
    if (entry.run === undefined) return undefined;
    const { id, seq, prev } = entry.run;
    const last = this.#last.get(id);
    this.#last.set(id, { seq, hash: hexOf(leaf) });
    if (entry.kind === "run.closed") this.#closed += 1;
    const expected = last === undefined ? 0 : last.seq + 1;
    if (seq !== expected) return `run \`${id}\` has seq ${seq}, expected ${expected}`;
    if (prev !== (last?.hash ?? noPrevious)) return `run \`${id}\` seq ${seq} does not chain to the entry before it`;
    return undefined;
  }
}
