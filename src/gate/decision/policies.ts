import { LRUCache } from "lru-cache";

import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { callablesOf } from "../../core/retrieval.ts";
import { compileInTurns, parsePolicySet, PolicyError } from "../../policy/index.ts";
import type { CompiledPolicies } from "../../policy/index.ts";
import { policySetByDigest } from "../../registry/index.ts";
import type { Pool } from "../../store/index.ts";
import type { RunContext } from "../governed-call.ts";

/** The policies that decide, compiled for the run's release. */
export async function policiesFor(
  pool: Pool,
  policySet: Digest,
  run: RunContext,
): Promise<CompiledPolicies | undefined> {
  const name = `${policySet}/${run.release.digest}`;
  const known = compiled.get(name);
  if (known !== undefined) return known;
  const { document } = await policySetByDigest(pool, policySet);
  return compiled.get(name) ?? compiledFor(name, document, run);
}

// Compiling hashes the whole set even where it is remembered, so the pair of digests is looked up first.
const compiled = new LRUCache<string, Promise<CompiledPolicies | undefined>>({ max: 200 });
/** How long a set that does not compile is remembered as that, in milliseconds: a lack of memory passes. */
const refusedMs = 60_000;

/** Once for all who wait for it. */
function compiledFor(name: string, document: Json, run: RunContext): Promise<CompiledPolicies | undefined> {
  const made = compileOrRefuse(document, run);
  compiled.set(name, made);
  made.then(
    (policies) => policies ?? compiled.set(name, made, { ttl: refusedMs }),
    () => compiled.delete(name),
  );
  return made;
}

async function compileOrRefuse(document: Json, run: RunContext): Promise<CompiledPolicies | undefined> {
  try {
    return await compileInTurns(parsePolicySet(document), callablesOf(run.release.document));
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}
