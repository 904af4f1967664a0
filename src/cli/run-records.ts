import { ApiError } from "../api/index.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { RunRecord } from "../core/run-record.ts";
import type { Cli } from "./cli.ts";
import { closedRecord } from "./closed-record.ts";

/** The server answered, and could not give this one. */
export function isOfOneRun(error: unknown): error is ApiError {
  return error instanceof ApiError && error.status !== undefined && error.status >= 500;
}

/** Records that are asked for, and looked at, at once. */
const ahead = 8;

/** What stands for a run whose record the server could not give, where it gives others'. */
export type Unreadable = { readonly run: RunId; readonly why: string };
export type RecordWithCode = { readonly record: RunRecord; readonly code: string | undefined };

/**
 * What `look` makes of the records of runs, each with the workflow code that it ran, in the order of `runs`; several are under way at once. One that
 * cannot be read is `unreadable`'s, and costs no other. Throws where the server refuses, or does not answer at all.
 */
export async function* recordsOf<Result>(
  { client }: Cli,
  runs: AsyncIterable<RunId>,
  look: (found: RecordWithCode) => Promise<Result>,
  unreadable: (run: Unreadable) => Result,
): AsyncGenerator<Result> {
  const bundles = new Map<Digest, Promise<{ readonly code: string }>>();
  const codeOf = async (digest: Digest | null): Promise<string | undefined> => {
    if (digest === null) return undefined;
    const asked = bundles.get(digest) ?? client.bundle({ params: { digest } });
    bundles.set(digest, asked);
    return (await asked).code;
  };
  const fetched: Promise<Result>[] = [];
  const fetchOne = async (run: RunId): Promise<Result> => {
    let found: RecordWithCode;
    try {
      const record = await closedRecord(client, run);
      found = { record, code: await codeOf(record.run.workflowBundle) };
    } catch (error) {
      if (!isOfOneRun(error)) throw error;
      return unreadable({ run, why: error.message });
    }
    return look(found);
  };
  for await (const run of runs) {
    const one = fetchOne(run);
    // It is awaited in its turn; until then its failure is not nobody's.
    one.catch(() => undefined);
    fetched.push(one);
    if (fetched.length > ahead) yield (await fetched.shift()) as Result;
  }
  for (const one of fetched) yield await one;
}
