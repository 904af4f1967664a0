import type { ApiClient } from "../api/index.ts";
import type { BundleSource } from "../audit/index.ts";
import { codeOf } from "../core/errors.ts";

/** Entries asked for at once. */
const pageSize = 1_000;

/** An evidence bundle's parts, from a server. */
export function evidenceSource(client: ApiClient): BundleSource {
  return {
    evidence: (run, size) =>
      client.runEvidence({ params: { run }, ...(size === undefined ? {} : { query: { size } }) }),
    contents: (run) => client.runRecord({ params: { run } }),
    checkpoint: (log) => checkpointOf(client, log),
    cosigned: (log) => checkpointOf(client, log, true),
    entries: (log, size) => leavesOf(client, log, size),
    async consistency(log, from, to) {
      return (await client.consistencyProof({ params: { log }, query: { from, to } })).proof;
    },
    async code(digest) {
      return (await client.bundle({ params: { digest } })).code;
    },
  };
}

/** The latest signed note, or the newest that witnesses cosigned; undefined where nothing was signed. */
export async function checkpointOf(client: ApiClient, log: string, cosigned = false): Promise<string | undefined> {
  try {
    return (await client.checkpoint({ params: { log }, query: { cosigned: String(cosigned) } })).checkpoint;
  } catch (error) {
    if (codeOf(error) === "not_signed_yet") return undefined;
    throw error;
  }
}

/** The leaves of the log's first `size` entries. */
export async function* leavesOf(client: ApiClient, log: string, size: number): AsyncGenerator<string> {
  for (let from = 0; from < size;) {
    const { entries } = await client.entries({
      params: { log },
      query: { from, limit: Math.min(pageSize, size - from) },
    });
    for (const { leaf } of entries) yield leaf;
    if (entries.length === 0) return;
    from += entries.length;
  }
}
