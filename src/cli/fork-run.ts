import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { Logger } from "pino";
import { ulid } from "ulid";

import { listRequests } from "../approvals/index.ts";
import { answerInFork, carriedBy, createForkAnswers, readForked, reportFork, seedFork } from "../audit/index.ts";
import type { ApprovalAnswers, EffectAnswers, ForkPlan, ForkReport, WouldWait } from "../audit/index.ts";
import type { RunId } from "../core/ids.ts";
import { createShutdownStack } from "../dev/index.ts";
import { createPool, migrate, payloadKeysOf, runById, stepsOf } from "../store/index.ts";
import type { Pool, StepRow } from "../store/index.ts";
import {
  cancelRun,
  connectTemporal,
  createPayloadCodec,
  startAgentRun,
  startWorker,
  wakeRun,
} from "../temporal/index.ts";
import type { AgentWorkerOptions, TemporalConnection, WorkflowBundle } from "../temporal/index.ts";
import { CliError } from "./cli-error.ts";

export type ForkOptions = {
  readonly plan: ForkPlan;
  readonly approvals: ApprovalAnswers;
  readonly effects: EffectAnswers;
  /** A database of the fork's own, and empty; it is migrated. What is in it afterwards is nobody's record. */
  readonly databaseUrl: string;
  readonly temporal: AgentWorkerOptions["temporal"];
  readonly provider: AgentWorkerOptions["provider"];
  readonly priceOf: AgentWorkerOptions["priceOf"];
  readonly remote?: AgentWorkerOptions["remote"];
  readonly detector?: AgentWorkerOptions["detector"];
  /** The workflow code that the recorded run ran. */
  readonly bundle?: WorkflowBundle | undefined;
  readonly logger: Logger;
  readonly onProgress: (line: string) => void;
  readonly signal: AbortSignal;
};

const lookMs = 50;
/** For steps under way to end when the fork is interrupted. */
const cancelWithinMs = 5_000;

/**
 * Runs a fork to its end: the recorded workflow code, the real gate and the real model, in a database and on a task queue of its own. The run
 * has an id of its own too, so nothing of it can be taken for the recorded one. Throws `environment` where it is interrupted.
 */
export async function runFork(options: ForkOptions): Promise<ForkReport> {
  const { plan, approvals, effects } = options;
  const stack = createShutdownStack();
  const madeAt = new Date();
  try {
    const pool = createPool({ url: options.databaseUrl });
    stack.add("the fork's database connections", () => pool.end(), 5_000);
    await migrate(pool);
    const keys = payloadKeysOf(randomBytes(32));
    const id = `run_${ulid()}` as RunId;
    await seedFork(pool, keys, plan, id);
    const now = clockFrom(plan.begins);
    const answers = createForkAnswers(plan, effects);
    const taskQueue = `fork-${id}`;
    const worker = await startWorker({
      temporal: options.temporal,
      taskQueue,
      databaseUrl: options.databaseUrl,
      keys,
      provider: options.provider,
      priceOf: options.priceOf,
      remote: options.remote,
      detector: options.detector,
      toolRoots: [],
      answerCalls: answers.answer,
      historyBeyond: plan.beyond.known,
      environment: plan.facts.environment,
      logger: options.logger,
      now,
      ...(options.bundle === undefined ? {} : { bundle: options.bundle }),
    });
    stack.add("the fork's worker", () => worker.stop(), 20_000);
    const connection = await connectTemporal({ ...options.temporal, codec: createPayloadCodec(pool, keys) });
    stack.add("the fork's Temporal connection", () => connection.close(), 5_000);
    const { client } = connection;
    await startAgentRun(client, { run: id, taskQueue, carried: carriedBy(plan) });
    stack.add("the fork's run", () => ended(pool, id, () => cancelRun(client, id)), cancelWithinMs);

    const waits = await untilClosed(options, { pool, client, id, now, failed: worker.failed });
    const forked = await readForked(pool, keys, id);
    return reportFork({ plan, forked, answered: answers.answered(), waits, approvals, effects, madeAt });
  } finally {
    await stack.run();
  }
}

type Begun = {
  readonly pool: Pool;
  readonly client: TemporalConnection["client"];
  readonly id: RunId;
  readonly now: () => Date;
  readonly failed: Promise<never>;
};

/** Follows the run, and says what people would have to say. */
async function untilClosed(options: ForkOptions, begun: Begun): Promise<readonly WouldWait[]> {
  const { plan, approvals, signal, onProgress } = options;
  const { pool, client, id, now, failed } = begun;
  const waits: WouldWait[] = [];
  const tell = createTeller(plan, onProgress);
  for (;;) {
    if (signal.aborted) throw stopped(signal);
    // In this order: what is told then is all of it.
    const closed = await isClosed(pool, id);
    tell(await stepsOf(pool, id, plan.at));
    if (closed) return waits;
    for (const request of await listRequests(pool, { run: id, state: "pending", limit: 100 })) {
      const wait = await answerInFork(pool, plan, request, approvals, now());
      waits.push(wait);
      onProgress(`step ${wait.seq} ${wait.name}: would wait for ${wait.groups.join(", ")}; ${wait.answer}`);
      await wakeRun(client, id, request.id);
    }
    await Promise.race([sleep(lookMs), failed]);
  }
}

export function stopped({ reason }: AbortSignal): CliError {
  if (reason instanceof CliError) return reason;
  return new CliError("environment", "the fork was stopped; nothing of it is left");
}

/** Time goes on from the recorded moment, so that what policies see of it is as it was. */
function clockFrom(begins: Date): () => Date {
  const started = Date.now();
  return () => new Date(begins.getTime() + Date.now() - started);
}

function createTeller(plan: ForkPlan, onProgress: (line: string) => void): (steps: readonly StepRow[]) => void {
  const told = new Set<number>();
  const over = new Set(["done", "failed", "denied", "unknown", "cancelled"]);
  return (steps) => {
    for (const { seq, kind, name, state } of steps) {
      if (!over.has(state) || told.has(seq)) continue;
      told.add(seq);
      const tool = [...plan.release.document.tools].find((one) => one.name === name && kind === "tool");
      const unmade = state === "done" && tool !== undefined && tool.effect !== "read";
      onProgress(`step ${seq} ${kind} ${name}: ${unmade ? "not made" : state}`);
    }
  };
}

async function isClosed(pool: Pool, id: RunId): Promise<boolean> {
  const row = await runById(pool, id);
  return row !== undefined && row.closedAt !== null;
}

/** A run that was not let come to its end is cancelled first, so that a model call under way is given up. */
async function ended(pool: Pool, id: RunId, cancel: () => Promise<void>): Promise<void> {
  if (await isClosed(pool, id)) return;
  await cancel();
  while (!(await isClosed(pool, id))) await sleep(lookMs);
}
