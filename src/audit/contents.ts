import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunRecord } from "../core/run-record.ts";
import { digestOf } from "../store/canonical.ts";
import { check } from "./report.ts";
import type { AuditCheck } from "./report.ts";

/** Every content has the digest that it is recorded under: the release, the input, each policy set and payload. */
export function checkContents(record: RunRecord): AuditCheck {
  const named: readonly (readonly [string, string, unknown])[] = [
    ["release", record.run.release, record.release],
    ["input", record.run.input, record.input],
    ...Object.entries(record.policySets).map(([digest, document]) => ["policy set", digest, document] as const),
    ...Object.entries(record.payloads).map(([digest, value]) => ["payload", digest, value] as const),
  ];
  const problems = named.flatMap(([what, digest, value]) => {
    return digest === digestIfPossible(value as Json) ? [] : [`${what} \`${digest}\` has other contents`];
  });
  const missing = record.steps.flatMap((step) => {
    return step.result === null || step.result in record.payloads
      ? []
      : [`step ${step.seq}: its result \`${step.result}\` is missing`];
  });
  const { result } = record.run;
  const answer = result === null || result in record.payloads ? [] : [`the run's result \`${result}\` is missing`];
  return check("contents", `${named.length} rehashed`, [...problems, ...missing, ...answer]);
}

function digestIfPossible(value: Json): Digest | undefined {
  try {
    return digestOf(value);
  } catch {
    return undefined;
  }
}
