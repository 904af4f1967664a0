import { pino } from "pino";

import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import { createServer } from "../../src/server/index.ts";
import type { ServerOptions } from "../../src/server/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { payloadKeysOf } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";

/** What contents are sealed with, and logs signed, wherever a test has a server. */
export const testKeys = payloadKeysOf(new Uint8Array(32).fill(7));
export const originOf = (log: string) => `localhost/ledger/${log}`;
export const signerOf = (log: string) => createSigner(originOf(log), new Uint8Array(32).fill(9));

type Given = Pick<ServerOptions, "pool" | "databaseUrl"> & Partial<ServerOptions>;

/** The real server, not started; without Temporal where `given` has no client of it: `engine` plays it then. */
export function testServer(given: Given, engine?: RunEngine) {
  const defaults = {
    keys: testKeys,
    temporal: undefined as never,
    taskQueue: "none",
    ledger: { originOf, signerOf },
    logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
  };
  return createServer({ ...defaults, ...given }, engine);
}

/** The logs with a sequencer: what was entered can be signed at once. Throws what the sequencer meets, where it is not given to `onError`. */
export function sequencedLedger(pool: Pool, onError?: (error: unknown) => void): ServerOptions["ledger"] {
  const rethrow = (error: unknown): never => {
    throw error;
  };
  const sequencer = createSequencer({
    pool,
    signers: (log) => [signerOf(log)],
    originOf,
    onError: onError ?? rethrow,
  });
  return { originOf, signerOf, flush: (log) => sequencer.flush(log) };
}
