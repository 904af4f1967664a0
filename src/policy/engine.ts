import { createRequire } from "node:module";

import type * as CedarModule from "@cedar-policy/cedar-wasm/nodejs";

/** The functions of one instance of cedar-wasm. */
export type Cedar = typeof CedarModule;

const require = createRequire(import.meta.url);

/**
 * An instance of Cedar of its own. Needed because a trap (text nested deeper than the instance's stack, say) leaves
 * an instance broken for good: every later call fails. So whatever throws, the instance is thrown away with all that
 * it holds, and the next call gets a fresh one (about 10 ms).
 */
export class CedarEngine {
  #cedar: Cedar | undefined;

  /** Runs `work` on the instance. Rethrows what it throws; the instance is then gone. */
  run<T>(work: (cedar: Cedar) => T): T {
    this.#cedar ??= loadCedar();
    try {
      return work(this.#cedar);
    } catch (cause) {
      this.renew();
      throw cause;
    }
  }

  /** Drops the instance with all its preparsed sets and schemas; Cedar has no call to drop a single one. */
  renew(): void {
    this.#cedar = undefined;
  }
}

/** A second instance is a second load: the module keeps its instance in a module-level variable. */
function loadCedar(): Cedar {
  const path = require.resolve("@cedar-policy/cedar-wasm/nodejs");
  delete require.cache[path];
  const cedar = require(path) as Cedar;
  delete require.cache[path];
  return cedar;
}

/**
 * Reads and validates text that comes from outside. Apart from the instance that decides, so that hostile text costs
 * its author an error, and nobody else a decision.
 */
export const reader = new CedarEngine();
