import { LRUCache } from "lru-cache";

import { sha256 } from "../../store/canonical.ts";
import { createReplayer } from "./replayer.ts";
import type { Replayer } from "./replayer.ts";

/** The replayers of an audit, one for each workflow code that its runs ran. */
export type Replayers = {
  of(code: string): Replayer;
  digestOf(code: string): string;
  /** Must be called: their workers keep the process alive. */
  close(): Promise<void>;
};

/** Codes whose workers are kept; a run of another one has to start its own. */
const atOnce = 4;

export function createReplayers(): Replayers {
  const closing: Promise<void>[] = [];
  const known = new LRUCache<string, Replayer>({ max: atOnce, dispose: (replayer) => closing.push(replayer.close()) });
  // Hashing half a megabyte for each of a thousand runs would cost as much as replaying them.
  const digests = new Map<string, string>();
  const digestOf = (code: string): string => {
    const digest = digests.get(code) ?? sha256(code);
    digests.set(code, digest);
    return digest;
  };
  return {
    digestOf,
    of(code) {
      const digest = digestOf(code);
      const replayer = known.get(digest) ?? createReplayer(code);
      known.set(digest, replayer, { noDisposeOnSet: true });
      return replayer;
    },
    async close() {
      known.clear();
      await Promise.all(closing);
    },
  };
}
