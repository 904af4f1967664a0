import { setTimeout as sleep } from "node:timers/promises";

import { faultPoint } from "../faults/index.ts";
import type { Pool } from "../store/index.ts";
import { cosignedSize, keepCosignature, lineHolds } from "./cosignatures.ts";
import { LedgerError } from "./errors.ts";
import { logsSigned } from "./pending.ts";
import { proveConsistency } from "./prove.ts";
import { latestCheckpoint } from "./reads.ts";
import type { SignedCheckpoint } from "./reads.ts";
import { Retries } from "./retries.ts";
import type { VerifierKey } from "./proof/index.ts";
import type { StoppedLogs } from "./stopped.ts";
import { formatRequest } from "./witness/add-checkpoint.ts";

/** A witness that this operator asks. `key` is its cosigner key, `url` the submission prefix (C2SP tlog-witness). */
export type Witness = { readonly url: string; readonly verifierKey: string; readonly key: VerifierKey };

export type WitnessingOptions = {
  readonly pool: Pool;
  readonly witnesses: readonly Witness[];
  readonly intervalMs?: number | undefined;
  readonly now: () => Date;
  /** A log that a witness contradicts is added, until the witness takes that back. */
  readonly stopped?: StoppedLogs | undefined;
  readonly onError: (error: unknown, log: string, witness: string) => void;
};

const requestTimeoutMs = 10_000;
const maxAnswerBytes = 16 * 1024;

/**
 * Asks each witness for its cosignature of the newest checkpoint of each log, and again, later and later, where one does not answer. Each is
 * asked once at the start in any case: a database that was restored does not know what it has cosigned. `asked` resolves when all were,
 * or have been given ten seconds.
 */
export function createWitnessing(options: WitnessingOptions): {
  start(): void;
  asked(): Promise<void>;
  stop(): Promise<void>;
} {
  const intervalMs = options.intervalMs ?? 1_000;
  let running: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  const first = Promise.withResolvers<void>();
  if (options.witnesses.length === 0) first.resolve();
  return {
    start() {
      if (running !== undefined || options.witnesses.length === 0) return;
      const stop = new AbortController();
      running = { stop, done: poll(options, intervalMs, stop.signal, first.resolve) };
    },
    async asked() {
      await Promise.race([first.promise, sleep(requestTimeoutMs, undefined, { ref: false })]);
    },
    async stop() {
      running?.stop.abort();
      await running?.done;
      running = undefined;
    },
  };
}

async function poll(
  options: WitnessingOptions,
  intervalMs: number,
  stop: AbortSignal,
  asked: () => void,
): Promise<void> {
  const retries = new Retries(intervalMs);
  const known = new Set<string>();
  while (!stop.aborted) {
    const logs = await logsSigned(options.pool).catch((error: unknown) => {
      options.onError(error, "", "");
      return [];
    });
    // Witnesses do not wait for each other: one that hangs must not cost the others' cosignatures.
    await Promise.all(
      options.witnesses.map(async (witness) => {
        for (const log of logs) {
          const name = `${log} ${witness.verifierKey}`;
          if (stop.aborted || !retries.due(name)) continue;
          try {
            const anyway = !known.has(name) || options.stopped?.reason(log) !== undefined;
            await cosignLatest(options, log, witness, stop, anyway);
            known.add(name);
            options.stopped?.clear(log, witness.verifierKey);
            retries.succeeded(name);
          } catch (error) {
            if (stop.aborted) return;
            retries.failed(name);
            if (error instanceof LedgerError && error.code === "witness_contradicts")
              options.stopped?.stop(log, witness.verifierKey, error);
            options.onError(error, log, witness.key.name);
          }
        }
      }),
    );
    asked();
    await sleep(intervalMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** How often a witness is asked again from where it says that it is, and another server may be asking too. */
const asks = 4;

/**
 * Throws `witness_contradicts` where the witness has seen another log than this one, and `witness_unusable` where no cosignature that holds
 * came back, or one that does not hold is in the database. `anyway`: also where nothing is to be cosigned.
 */
export async function cosignLatest(
  { pool, now }: Pick<WitnessingOptions, "pool" | "now">,
  log: string,
  witness: Witness,
  signal: AbortSignal,
  anyway = false,
): Promise<void> {
  const [latest, cosigned] = await Promise.all([latestCheckpoint(pool, log), cosignedSize(pool, log, witness)]);
  if (latest === undefined || (latest.size <= cosigned.size && !anyway)) return;
  let [checkpoint, from] = [latest, cosigned.size];
  for (let asked = 1; asked <= asks; asked += 1) {
    const [asking, old] = [checkpoint, from];
    const answer = await faultPoint("witness.ask", () => ask(pool, log, witness, asking, old, signal));
    if (answer.status === "cosigned") {
      const { size, note } = checkpoint;
      const line = cosignatureIn(note, answer.lines, witness.key);
      const cosignature = { log, size, witness: witness.verifierKey, line, now: now() };
      await faultPoint("witness.keep", () => keepCosignature(pool, cosignature));
      return tellBogus(log, witness, cosigned.bogus);
    }
    // The witness may know more than was recorded here (its last answer was lost), or less (it was set up anew): it says where it is.
    if (answer.size > checkpoint.size) {
      // Another server may have signed more meanwhile, and shown it to the witness.
      const fresh = await latestCheckpoint(pool, log);
      if (fresh === undefined || fresh.size < answer.size)
        throw contradicts(
          log,
          witness,
          `is at size ${answer.size}, and ${fresh?.size ?? 0} is the largest that was signed here`,
        );
      checkpoint = fresh;
    } else if (answer.size === from) {
      throw contradicts(log, witness, `is at size ${answer.size}, and refuses the signed tree of ${checkpoint.size}`);
    }
    from = answer.size;
  }
  throw new LedgerError("witness_unusable", `witness \`${witness.key.name}\` does not say twice where it is`);
}

function contradicts(log: string, witness: Witness, what: string): LedgerError {
  return new LedgerError("witness_contradicts", `witness \`${witness.key.name}\` of log \`${log}\` ${what}`, {
    hint: 'the database was restored from an older state, the log was forked, or another copy of it is at work: nothing is signed until the witness agrees; see docs/ledger.md, "A restored database"',
  });
}

/** They are in nobody's way, and in a table that no program of ours writes such rows to. */
function tellBogus(log: string, witness: Witness, sizes: readonly number[]): void {
  if (sizes.length === 0) return;
  throw new LedgerError(
    "witness_unusable",
    `${sizes.length} cosignatures of log \`${log}\` in the database are not by \`${witness.key.name}\`: of size ${sizes.slice(0, 3).join(", ")}`,
    { hint: "somebody wrote to ledger_cosignature: they count for nothing, and that somebody is to be found" },
  );
}

type Answer =
  | { readonly status: "cosigned"; readonly lines: string }
  | { readonly status: "at"; readonly size: number };

async function ask(
  pool: Pool,
  log: string,
  witness: Witness,
  { note, size }: SignedCheckpoint,
  oldSize: number,
  signal: AbortSignal,
): Promise<Answer> {
  const proof = oldSize === 0 || oldSize === size ? [] : await proveConsistency(pool, log, oldSize, size);
  const refused = (why: string, cause?: unknown) =>
    new LedgerError("witness_unusable", `witness \`${witness.key.name}\` ${why}`, { cause });
  let status: number;
  let text: string;
  try {
    const response = await fetch(`${witness.url.replace(/\/+$/, "")}/add-checkpoint`, {
      method: "POST",
      body: formatRequest({ oldSize, proof, note }),
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    });
    status = response.status;
    text = await boundedText(response);
  } catch (cause) {
    throw refused("does not answer", cause);
  }
  if (status === 200) return { status: "cosigned", lines: text };
  const at = status === 409 ? /^(0|[1-9][0-9]{0,15})\n$/.exec(text)?.[1] : undefined;
  if (at !== undefined) return { status: "at", size: Number(at) };
  if (status === 422) throw contradicts(log, witness, `says that size ${size} did not grow out of what it cosigned`);
  throw refused(`answered ${status}: ${JSON.stringify(text.slice(0, 200))}`);
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > maxAnswerBytes) throw new RangeError(`answer has more than ${maxAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The line by the witness's own key that holds; others are none of our business. */
function cosignatureIn(note: string, lines: string, key: VerifierKey): string {
  const line = lines.split(/(?<=\n)/).find((one) => lineHolds(note, one, key));
  if (line !== undefined) return line;
  throw new LedgerError("witness_unusable", `witness \`${key.name}\` sent no cosignature that holds`);
}
