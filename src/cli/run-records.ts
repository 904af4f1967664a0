import type { Digest, RunId } from "../core/ids.ts";
import type { RunRecord } from "../core/run-record.ts";
import type { Cli } from "./cli.ts";
import { closedRecord } from "./closed-record.ts";

/** Records that are asked for, and looked at, at once. */
const ahead = 8;

export type RecordWithCode = { readonly record: RunRecord; readonly code: string | undefined };

/** What `look` makes of the records of runs, each with the workflow code that it ran, in the order of `runs`; several are under way at once. */
export async function* recordsOf<Result>(
  { client }: Cli,
  runs: AsyncIterable<RunId>,
  look: (found: RecordWithCode) => Promise<Result>,
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
    const record = await closedRecord(client, run);
    return look({ record, code: await codeOf(record.run.workflowBundle) });
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
