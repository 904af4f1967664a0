import { pino } from "pino";

import { planFork } from "../../src/audit/index.ts";
import type { ForkReport } from "../../src/audit/index.ts";
import { runFork } from "../../src/cli/fork-run.ts";
import type { ForkOptions } from "../../src/cli/fork-run.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import { policySetOf } from "../../src/policy/index.ts";
import type { PolicySetDocument } from "../../src/policy/index.ts";
import { createModelProvider, priceOf } from "../../src/providers/index.ts";
import { buildRunRecord } from "../../src/server/run-record.ts";
import { runById } from "../../src/store/index.ts";
import { fetchHistories, fetchHistory, readBundle } from "../../src/temporal/index.ts";
import { freshDatabase } from "./database.ts";
import { testTemporal } from "./temporal.ts";
import type { World } from "./world.ts";

/** The record of a world's run, with what is in its ledger. */
export async function recordIn(world: World, run: RunId): Promise<RunRecord> {
  const { pool, keys, client } = world;
  const originOf = (log: string) => `test/ledger/${log}`;
  const signerOf = (log: string) => createSigner(originOf(log), Buffer.alloc(32, 9));
  const sequencer = createSequencer({
    pool,
    signers: (log) => [signerOf(log)],
    originOf,
    onError: (error) => {
      throw error;
    },
  });
  const runs = { histories: fetchHistories.bind(undefined, client), history: fetchHistory.bind(undefined, client) };
  const ledger = { signerOf, flush: (log: string) => sequencer.flush(log) };
  const logger = { warn: () => undefined, error: () => undefined };
  const services = { pool, keys, ledger, runs, logger, now: () => new Date() } as never;
  const row = await runById(pool, run);
  if (row === undefined) throw new Error("no such run");
  return buildRunRecord(services, row);
}

export function policiesOf(text: string, history: Parameters<typeof policySetOf>[1] = []): PolicySetDocument {
  const { document, problems } = policySetOf([{ name: "fork.cedar", text }], history);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return document;
}

type Asked = Parameters<typeof planFork>[1];
type Asking = Partial<Omit<Asked, "at">> &
  Partial<Pick<ForkOptions, "approvals" | "effects" | "signal" | "priceOf">> & {
    /** Where models answer; default: where they did for the world. */
    readonly modelUrl?: string;
  };

/** Forks a run as the command does, in a database of its own. `lines`: what it told on the way. */
export async function forkIn(
  world: World,
  record: RunRecord,
  at: number,
  { model, prompt, policies, maxCostMicroUsd = 1_000_000, modelUrl = world.modelUrl, ...options }: Asking = {},
): Promise<ForkReport & { readonly lines: readonly string[] }> {
  const plan = planFork(record, { at, model, prompt, policies, maxCostMicroUsd });
  const digest = record.run.workflowBundle;
  const code = digest === null ? undefined : await readBundle(world.pool, digest);
  const database = await freshDatabase();
  const lines: string[] = [];
  try {
    const report = await runFork({
      plan,
      approvals: "approve",
      effects: "stub",
      databaseUrl: database.url,
      temporal: testTemporal(),
      provider: createModelProvider({ baseUrl: modelUrl, apiKey: "scripted", timeoutMs: 10_000 }),
      priceOf: (name) => priceOf(name),
      bundle: digest === null || code === undefined ? undefined : { code, digest },
      logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
      onProgress: (line) => void lines.push(line),
      signal: new AbortController().signal,
      ...options,
    });
    return { ...report, lines };
  } finally {
    await database.close();
  }
}

/** Steps as a person would read them: `~ pay (decision)`. */
export function told({ steps }: ForkReport): readonly string[] {
  const marks = { same: "=", changed: "~", added: "+", missing: "-" };
  return steps.map(({ status, name, differs }) => {
    return `${marks[status]} ${name}${differs.length === 0 ? "" : ` (${differs.join(", ")})`}`;
  });
}
