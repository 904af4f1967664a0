import { LRUCache } from "lru-cache";

import type { StepKind } from "../../core/action.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Release } from "../../core/release.ts";
import type { RunInput } from "../../core/run.ts";
import { releaseByDigest } from "../../registry/index.ts";
import { getPayloads, runById, sealingOf, StoreError } from "../../store/index.ts";
import type { PayloadKeys, Pool } from "../../store/index.ts";
import { GateError } from "../errors.ts";
import type { RunContext } from "../governed-call.ts";

/** Bytes of contents that one worker keeps at hand. */
const payloadCacheBytes = 64 * 1024 * 1024;

/** Characters of inputs that one worker keeps at hand. */
const contextCacheCharacters = 64 * 1024 * 1024;

/** What is immutable, and so may be remembered: releases, run contexts, payloads by their digest. */
export type RunCache = {
  context(run: RunId): Promise<RunContext>;
  payload(digest: Digest): Promise<Json>;
  payloads(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, Json>>;
  remember(digest: Digest, value: Json): void;
  /** A step that this worker has just seen end, so that it need not be read again. */
  rememberEnd(run: RunId, seq: number, end: EndedStep): void;
  ended(run: RunId, seq: number): EndedStep | undefined;
};

export type EndedStep = { readonly kind: StepKind; readonly callId: string; readonly result: Digest };

export function createRunCache(pool: Pool, keys: PayloadKeys): RunCache {
  // Releases are shared between runs, so what a context takes is its input; a prompt may have a megabyte.
  const contexts = new LRUCache<RunId, RunContext>({
    max: 10_000,
    maxSize: contextCacheCharacters,
    sizeCalculation: ({ input }) => 1_000 + input.prompt.length,
  });
  const releases = new LRUCache<Digest, Release>({ max: 500 });
  const ends = new LRUCache<string, EndedStep>({ max: 50_000 });
  const contents = new LRUCache<Digest, { value: Json }>({
    maxSize: payloadCacheBytes,
    sizeCalculation: ({ value }) => 64 + JSON.stringify(value).length,
  });

  async function payloads(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, Json>> {
    const found = new Map<Digest, Json>();
    const missing: Digest[] = [];
    for (const digest of digests) {
      const hit = contents.get(digest);
      if (hit === undefined) missing.push(digest);
      else found.set(digest, hit.value);
    }
    for (const [digest, value] of await getPayloads(pool, keys, missing)) {
      contents.set(digest, { value });
      found.set(digest, value);
    }
    return found;
  }

  async function payload(digest: Digest): Promise<Json> {
    const value = (await payloads([digest])).get(digest);
    if (value === undefined) throw new StoreError("payload_missing", `no payload \`${digest}\``);
    return value;
  }

  async function release(digest: Digest): Promise<Release> {
    const found = releases.get(digest) ?? (await releaseByDigest(pool, digest));
    releases.set(digest, found);
    return found;
  }

  async function context(id: RunId): Promise<RunContext> {
    const hit = contexts.get(id);
    if (hit !== undefined) return hit;
    const row = await runById(pool, id);
    if (row === undefined) throw new GateError("unknown_run", `run \`${id}\` is not registered`);
    const [input, sealing] = await Promise.all([payload(row.input), sealingOf(pool, keys, id)]);
    const found: RunContext = {
      id,
      team: row.team,
      agent: row.agent,
      requestedBy: row.requestedBy,
      release: await release(row.release),
      input: input as unknown as RunInput,
      inputDigest: row.input,
      salt: sealing.current.salt,
      sealing,
      ...(row.dataKey === null ? {} : { dataKey: row.dataKey }),
    };
    contexts.set(id, found);
    return found;
  }

  return {
    context,
    payload,
    payloads,
    remember: (digest, value) => void contents.set(digest, { value }),
    rememberEnd: (run, seq, end) => void ends.set(`${run}.${seq}`, end),
    ended: (run, seq) => ends.get(`${run}.${seq}`),
  };
}
