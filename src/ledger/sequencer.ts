import { setTimeout as sleep } from "node:timers/promises";

import { faultPoint } from "../faults/index.ts";
import { inTransaction } from "../store/index.ts";
import type { Pool } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import { hasWork, logsSigned, logsWithWork, newestWaiting } from "./pending.ts";
import type { Signer } from "./proof/index.ts";
import { Retries } from "./retries.ts";
import { batchSize, sequenceBatch } from "./sequence-batch.ts";
import type { BatchResult } from "./sequence-batch.ts";
import { lookAtSigned, signCheckpoint } from "./sign-checkpoint.ts";
import type { SignedNotes } from "./signed-notes.ts";
import type { StoppedLogs } from "./stopped.ts";

export type SequencerOptions = {
  readonly pool: Pool;
  /** The log's keys, the current one first. Their name MUST be the log's origin. */
  readonly signers: (log: string) => readonly Signer[];
  /** The log's name to the world: a URL without scheme, such as `host/ledger/team`. */
  readonly originOf: (log: string) => string;
  /** Between looks at the outbox while there is work, in milliseconds; without work it grows to a second. Default 100. */
  readonly intervalMs?: number | undefined;
  /** What was signed, kept outside the database. Without it only the database is believed, whatever it was restored from. */
  readonly kept?: SignedNotes | undefined;
  /** Logs that others found must not be signed; what is found here is added. */
  readonly stopped?: StoppedLogs | undefined;
  /** What went wrong, and with which log. It is tried again, later and later. */
  readonly onError: (error: unknown, log?: string) => void;
};

export type Sequencer = {
  start(): void;
  /** Finishes the batch at hand. */
  stop(): Promise<void>;
  /** Sequences all that is committed by now (of one log, or of all), and signs. Throws what goes wrong. */
  flush(log?: string): Promise<void>;
};

/** Batches of one log before it is signed and others get their turn. */
const batchesPerTurn = 4;
const longestIdleMs = 1_000;
const lockRetryMs = 10;
/** Between looks whether each log still is what was signed of it, also where there is nothing to sign. */
const lookMs = 5_000;
/** As whom the sequencer stops a log. */
const self = "sequencer";

/**
 * Moves events from the outbox to the logs and signs checkpoints. Any number may run, in any number of processes: an advisory
 * lock makes them take turns, and a compare-and-swap on the log's size refuses one that lost its lock unawares.
 */
export function createSequencer(options: SequencerOptions): Sequencer {
  const intervalMs = options.intervalMs ?? 100;
  let running: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  return {
    start() {
      if (running !== undefined) return;
      const stop = new AbortController();
      running = { stop, done: poll(options, intervalMs, stop.signal) };
    },
    async stop() {
      running?.stop.abort();
      await running?.done;
      running = undefined;
    },
    async flush(log) {
      const logs = log === undefined ? await logsWithWork(options.pool) : [log];
      for (const each of logs) await flushLog(options, each);
    },
  };
}

async function poll(options: SequencerOptions, intervalMs: number, stop: AbortSignal): Promise<void> {
  const retries = new Retries(intervalMs);
  let idleMs = intervalMs;
  let lookedAt = Number.NEGATIVE_INFINITY;
  while (!stop.aborted) {
    if (performance.now() - lookedAt >= lookMs) {
      await look(options, stop);
      lookedAt = performance.now();
    }
    const outcome = await round(options, retries, stop);
    idleMs = outcome === "idle" ? Math.min(idleMs * 2, Math.max(intervalMs, longestIdleMs)) : intervalMs;
    if (outcome !== "more") await sleep(idleMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** A database that was restored tells nothing of it: its logs are compared with what is kept of them. */
async function look(options: SequencerOptions, stop: AbortSignal): Promise<void> {
  const { pool, kept, stopped } = options;
  if (kept === undefined) return;
  try {
    for (const log of new Set([...(await kept.logs()), ...(await logsSigned(pool))])) {
      if (stop.aborted) return;
      const before = stopped?.reason(log)?.message;
      try {
        await inTransaction(pool, (tx) => lookAtSigned(tx, log, options.originOf(log), options.signers(log), kept));
        stopped?.clear(log, self);
      } catch (error) {
        note(options, log, error);
        // The same again is no news.
        if (!(error instanceof LedgerError) || error.message !== before) options.onError(error, log);
      }
    }
  } catch (error) {
    options.onError(error);
  }
}

const stopping: ReadonlySet<string> = new Set(["checkpoint_conflict", "chain_broken", "signed_notes_unusable"]);

function note({ stopped }: SequencerOptions, log: string, error: unknown): void {
  if (error instanceof LedgerError && stopping.has(error.code)) stopped?.stop(log, self, error);
}

/** One turn for each log that has work. `more`: one of them has not finished. */
async function round(
  options: SequencerOptions,
  retries: Retries,
  stop: AbortSignal,
): Promise<"idle" | "worked" | "more"> {
  const outcomes: Turn[] = [];
  try {
    for (const log of await logsWithWork(options.pool)) {
      if (stop.aborted || !retries.due(log)) continue;
      try {
        outcomes.push(await turn(options, log, stop));
        retries.succeeded(log);
      } catch (error) {
        retries.failed(log);
        // Losing the race against another sequencer is no fault; the next round sees what it did.
        if (!isLostRace(error)) options.onError(error, log);
      }
    }
  } catch (error) {
    options.onError(error);
  }
  return outcomes.includes("more") ? "more" : outcomes.includes("worked") ? "worked" : "idle";
}

type Turn = "busy" | "worked" | "more";

async function turn(options: SequencerOptions, log: string, stop: AbortSignal): Promise<Turn> {
  let outcome: Turn = "more";
  for (let batches = 0; batches < batchesPerTurn && outcome === "more" && !stop.aborted; batches += 1) {
    const batch = await sequence(options, log);
    outcome = batch.status === "busy" ? "busy" : batch.taken < batchSize ? "worked" : "more";
  }
  if (outcome !== "busy") await sign(options, log);
  return outcome;
}

async function flushLog(options: SequencerOptions, log: string): Promise<void> {
  if (!(await hasWork(options.pool, log))) return;
  // What is appended after this moment is not waited for: a busy log would never be flushed.
  const newest = await newestWaiting(options.pool, log);
  for (;;) {
    const batch = await sequence(options, log);
    if (batch.status === "busy") await sleep(lockRetryMs);
    else if (batch.taken < batchSize || batch.lastId >= newest) break;
  }
  while ((await sign(options, log)) === "busy") await sleep(lockRetryMs);
}

async function sequence({ pool }: SequencerOptions, log: string): Promise<BatchResult> {
  return faultPoint("ledger.batch", () => inTransaction(pool, (tx) => sequenceBatch(tx, log)));
}

async function sign(options: SequencerOptions, log: string): Promise<"signed" | "current" | "busy"> {
  const { pool, kept, stopped } = options;
  const reason = stopped?.reason(log, self);
  if (reason !== undefined) throw reason;
  const [origin, signers] = [options.originOf(log), options.signers(log)];
  const work = () => inTransaction(pool, (tx) => signCheckpoint(tx, log, origin, signers, kept));
  try {
    const outcome = await faultPoint("ledger.sign", work);
    if (outcome !== "busy") stopped?.clear(log, self);
    return outcome;
  } catch (error) {
    note(options, log, error);
    throw error;
  }
}

function isLostRace(error: unknown): boolean {
  return error instanceof LedgerError && error.code === "append_conflict";
}
