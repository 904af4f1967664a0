import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunRecord } from "../core/run-record.ts";
import { contentDigest, digestOf } from "../store/canonical.ts";
import { erasedText, erasureOf } from "./erasure.ts";
import { check, erasedCheck, notChecked } from "./report.ts";
import type { AuditCheck } from "./report.ts";

type Named = readonly [what: string, digest: string, value: unknown];

/**
 * Every content has the digest that it is recorded under: the release, the input, each policy set and payload. What is a person's is named by
 * commitments under the run's salt. Contents that were erased are told; without an entry that says so they are missing.
 */
export function checkContents(record: RunRecord): AuditCheck {
  const { run, salt } = record;
  const assets: readonly Named[] = [
    ["release", run.release, record.release],
    ...Object.entries(record.policySets).map(([digest, document]): Named => ["policy set", digest, document]),
  ];
  const wrongAssets = assets.flatMap(wrong(undefined));
  if ((salt === undefined) !== (run.dataKey === undefined)) {
    const erasure = erasureOf(record);
    if (erasure !== undefined && wrongAssets.length === 0 && Object.keys(record.payloads).length === 0)
      return erasedCheck("contents", `${erasedText(erasure)}; ${assets.length} of release and policies rehashed`);
    if (wrongAssets.length === 0 && record.ledger.waiting > 0)
      return notChecked("contents", "they are not there; the ledger does not have all its entries yet, ask again");
    const said = run.dataKey === undefined ? "a salt, and no data key" : "no contents, and no entry that erased them";
    return check("contents", "", [...wrongAssets, `the run has ${said}`]);
  }
  const named: readonly Named[] = [
    ["input", run.input, record.input],
    ...Object.entries(record.payloads).map(([digest, value]): Named => ["payload", digest, value]),
  ];
  const problems = [...wrongAssets, ...named.flatMap(wrong(salt))];
  const missing = record.steps.flatMap((step) => {
    return step.result === null || step.result in record.payloads
      ? []
      : [`step ${step.seq}: its result \`${step.result}\` is missing`];
  });
  const { result } = record.run;
  const answer = result === null || result in record.payloads ? [] : [`the run's result \`${result}\` is missing`];
  return check("contents", `${assets.length + named.length} rehashed`, [...problems, ...missing, ...answer]);
}

function wrong(salt: string | undefined): (named: Named) => readonly string[] {
  return ([what, digest, value]) =>
    digest === digestIfPossible(salt, value as Json) ? [] : [`${what} \`${digest}\` has other contents`];
}

function digestIfPossible(salt: string | undefined, value: Json): Digest | undefined {
  try {
    return salt === undefined ? digestOf(value) : contentDigest(salt, value);
  } catch {
    return undefined;
  }
}
