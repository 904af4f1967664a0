import { setTimeout as sleep } from "node:timers/promises";

import { faultPoint } from "../faults/index.ts";
import type { Pool } from "../store/index.ts";
import { cosignedSize, keepCosignature } from "./cosignatures.ts";
import { LedgerError } from "./errors.ts";
import { logsSigned } from "./pending.ts";
import { proveConsistency } from "./prove.ts";
import { latestCheckpoint } from "./reads.ts";
import type { SignedCheckpoint } from "./reads.ts";
import { Retries } from "./retries.ts";
import { parseNote, ProofError, verifyNote } from "./proof/index.ts";
import type { VerifierKey } from "./proof/index.ts";
import { formatRequest } from "./witness/add-checkpoint.ts";

/** A witness that this operator asks. `key` is its cosigner key, `url` the submission prefix (C2SP tlog-witness). */
export type Witness = { readonly url: string; readonly verifierKey: string; readonly key: VerifierKey };

export type WitnessingOptions = {
  readonly pool: Pool;
  readonly witnesses: readonly Witness[];
  readonly intervalMs?: number | undefined;
  readonly now: () => Date;
  readonly onError: (error: unknown, log: string, witness: string) => void;
};

const requestTimeoutMs = 10_000;
const maxAnswerBytes = 16 * 1024;

/** Asks each witness for its cosignature of the newest checkpoint of each log, and again, later and later, where one does not answer. */
export function createWitnessing(options: WitnessingOptions): { start(): void; stop(): Promise<void> } {
  const intervalMs = options.intervalMs ?? 1_000;
  let running: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  return {
    start() {
      if (running !== undefined || options.witnesses.length === 0) return;
      const stop = new AbortController();
      running = { stop, done: poll(options, intervalMs, stop.signal) };
    },
    async stop() {
      running?.stop.abort();
      await running?.done;
      running = undefined;
    },
  };
}

async function poll(options: WitnessingOptions, intervalMs: number, stop: AbortSignal): Promise<void> {
  const retries = new Retries(intervalMs);
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
            await cosignLatest(options, log, witness, stop);
            retries.succeeded(name);
          } catch (error) {
            if (stop.aborted) return;
            retries.failed(name);
            options.onError(error, log, witness.key.name);
          }
        }
      }),
    );
    await sleep(intervalMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** Throws `witness_unusable` where no cosignature that holds came back. */
export async function cosignLatest(
  { pool, now }: Pick<WitnessingOptions, "pool" | "now">,
  log: string,
  witness: Witness,
  signal: AbortSignal,
): Promise<void> {
  const [checkpoint, from] = await Promise.all([
    latestCheckpoint(pool, log),
    cosignedSize(pool, log, witness.verifierKey),
  ]);
  if (checkpoint === undefined || checkpoint.size <= from) return;
  let answer = await faultPoint("witness.ask", () => ask(pool, log, witness, checkpoint, from, signal));
  // The witness may know more than was recorded here (its last answer was lost), or less (it was set up anew): it says where it is.
  if (answer.status === "at" && answer.size !== from && answer.size <= checkpoint.size) {
    answer = await ask(pool, log, witness, checkpoint, answer.size, signal);
  }
  if (answer.status === "at") {
    throw new LedgerError(
      "witness_unusable",
      `witness \`${witness.key.name}\` is at size ${answer.size} of log \`${log}\` and refuses the signed tree of ${checkpoint.size}`,
      { hint: "the log was rolled back or forked, or another copy of it is at work: find out before anything else" },
    );
  }
  const { size, note } = checkpoint;
  const line = cosignatureIn(note, answer.lines, witness.key);
  const cosignature = { log, size, witness: witness.verifierKey, line, now: now() };
  await faultPoint("witness.keep", () => keepCosignature(pool, cosignature));
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
  const { text } = parseNote(note);
  const line = lines.split(/(?<=\n)/).find((one) => holds(`${text}\n${one}`, key));
  if (line !== undefined) return line;
  throw new LedgerError("witness_unusable", `witness \`${key.name}\` sent no cosignature that holds`);
}

function holds(note: string, key: VerifierKey): boolean {
  try {
    return verifyNote(note, [key]).signedBy.length === 1;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}
