import type { Digest } from "../../core/ids.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { compilePolicies, parsePolicySet, PolicyError } from "../../policy/index.ts";
import type { CompiledPolicies } from "../../policy/index.ts";

/** The policy sets of a record, each made ready once. Undefined: missing, or it does not fit the release, and the gate denies everything then. */
export type CompiledSets = (policySet: Digest) => CompiledPolicies | undefined;

export function compiledSetsOf(record: RunRecord): CompiledSets {
  const known = new Map<Digest, CompiledPolicies | undefined>();
  return (policySet) => {
    if (known.has(policySet)) return known.get(policySet);
    const compiled = compile(record, policySet);
    known.set(policySet, compiled);
    return compiled;
  };
}

function compile({ policySets, release }: RunRecord, policySet: Digest): CompiledPolicies | undefined {
  const document = policySets[policySet];
  if (document === undefined) return undefined;
  try {
    return compilePolicies(parsePolicySet(document), callablesOf(release));
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}
