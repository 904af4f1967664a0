import { hasEnded } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import { buildRunRecord } from "../../src/server/run-record.ts";
import { runById } from "../../src/store/index.ts";
import { fetchHistories, fetchHistory, readBundle } from "../../src/temporal/index.ts";
import { until } from "./world.ts";
import type { World } from "./world.ts";
import type { Evidence } from "../e2e/running-stack.ts";

/** A run's evidence, put together as the server does it. */
export async function evidenceIn(world: World, run: RunId): Promise<Evidence> {
  const { pool, keys, client } = world;
  const originOf = (log: string): string => `localhost/ledger/${log}`;
  // The same key each time: a log whose key changes is another log.
  const seed = Buffer.alloc(32, 3);
  const signerOf = (log: string) => createSigner(originOf(log), seed);
  const fail = (error: unknown): never => {
    throw error;
  };
  const sequencer = createSequencer({ pool, signers: (log) => [signerOf(log)], originOf, onError: fail });
  await sequencer.flush("testers");
  const services = {
    pool,
    keys,
    ledger: { signerOf, flush: (log: string) => sequencer.flush(log) },
    runs: { histories: fetchHistories.bind(undefined, client), history: fetchHistory.bind(undefined, client) },
    now: () => new Date(),
    logger: console,
  };
  const record = await until(async () => {
    const row = await runById(pool, run);
    const found = row === undefined ? undefined : await buildRunRecord(services as never, row);
    return found === undefined || (found.run.closedAt !== null && !hasEnded(found)) ? undefined : found;
  });
  const code = await readBundle(pool, record.run.workflowBundle ?? ("" as never));
  return { record, code: code ?? "", verifierKey: signerOf("testers").verifierKey };
}
