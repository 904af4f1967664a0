import { grantKind, keyIdOf, readGrant, readSigned, verifyText } from "../approvals/index.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { LedgerEntry } from "../core/ledger-event.ts";
import type { DecisionRecord, GrantRecord, RunRecord } from "../core/run-record.ts";
import { amountCovered } from "../core/standing-grant.ts";
import type { StandingGrant } from "../core/standing-grant.ts";
import type { ResolvedStep } from "../gate/index.ts";
import type { Approved } from "../policy/index.ts";
import { digestOf, sha256 } from "../store/canonical.ts";
import { differences } from "./differences.ts";

/**
 * What the standing grant that a decision names amounts to: its signatures, and that it was for this very call, by its text. Throws where
 * it was not. Which group a reviewer was in is the operator's word, as with requests; uses in other runs are in the ledger.
 */
export function grantApprovals(
  record: RunRecord,
  decision: DecisionRecord,
  step: ResolvedStep,
  made: JsonObject,
): readonly Approved[] {
  const grant = (record.grants ?? []).find(({ id }) => id === decision.standingGrant);
  if (grant === undefined) throw new Error(`the standing grant \`${decision.standingGrant ?? ""}\` is not recorded`);
  const document = readGrant(grant.document);
  if (document === undefined) throw new Error(`the standing grant \`${grant.id}\` is malformed`);
  const problem = misuse(record, decision, step, document, grant, made);
  if (problem !== undefined) throw new Error(`the standing grant \`${grant.id}\`: ${problem}`);
  const reviewers = new Set(
    grant.decisions
      .filter((signed) => signed.decision === "approve" && signedProblem(document, grant, signed) === undefined)
      .map(({ reviewer }) => reviewer)
      .filter((reviewer) => reviewer !== record.run.requestedBy),
  );
  return document.requirements.map(({ policy, group }) => ({ policy, group, approvals: reviewers.size }));
}

function misuse(
  record: RunRecord,
  decision: DecisionRecord,
  step: ResolvedStep,
  document: StandingGrant,
  grant: GrantRecord,
  made: JsonObject,
): string | undefined {
  const { run } = record;
  if (document.team !== run.team || document.agent !== run.agent || document.tool !== step.name)
    return "it is for another agent or tool";
  const tool = record.release.tools.find(({ name }) => name === step.name);
  if (tool === undefined || digestOf(tool as unknown as Json) !== document.toolDigest) return "its tool was changed";
  const use = grant.uses.find(({ seq }) => seq === decision.seq);
  if (use === undefined) return "the use is not recorded";
  if (decision.at >= document.expiresAt) return "its time was up";
  if (use.n >= document.maxUses) return `it was used more than ${document.maxUses} times`;
  if (amountCovered(document, made) !== use.amount) return "the call is not one that it is for, or counts otherwise";
  const set = record.policySets[decision.policySet] as
    | { policies?: readonly { id: string; text: string }[] }
    | undefined;
  const changed = document.requirements.find(
    ({ policy, text }) => sha256(set?.policies?.find(({ id }) => id === policy)?.text ?? "") !== text,
  );
  return changed === undefined ? undefined : `policy \`${changed.policy}\` was changed`;
}

function signedProblem(
  document: StandingGrant,
  grant: GrantRecord,
  signed: GrantRecord["decisions"][number],
): string | undefined {
  if (keyIdOf(signed.publicKey) !== signed.keyId) return "the key is not the one that it names";
  if (!verifyText(grantKind.type, signed.statement, signed.signature, signed.publicKey))
    return "the signature does not verify";
  const statement = readSigned(grantKind, signed.statement);
  if (statement === undefined) return "the statement is malformed";
  if (statement.grant !== grant.id || statement.document !== digestOf(document as unknown as Json))
    return "it is on another grant";
  if (statement.reviewer !== signed.reviewer || statement.decision !== signed.decision)
    return "the statement says something else";
  return signed.reviewer === document.proposedBy ? "it is by who proposed the grant" : undefined;
}

/** Every signature on a grant that the run used. */
export function grantProblems(record: RunRecord): readonly string[] {
  return (record.grants ?? []).flatMap((grant) => {
    const document = readGrant(grant.document);
    if (document === undefined) return [`standing grant \`${grant.id}\` is malformed`];
    return grant.decisions.flatMap((signed) => {
      const problem = signedProblem(document, grant, signed);
      return problem === undefined ? [] : [`${signed.reviewer}'s decision on \`${grant.id}\`: ${problem}`];
    });
  });
}

/** Each use against its entry, both ways; the entry's sum is over all runs. */
export function grantUseProblems(record: RunRecord, entries: readonly LedgerEntry[]): readonly string[] {
  const used = entries.filter(({ kind }) => kind === "grant.used");
  const uses = (record.grants ?? []).flatMap(({ id, document, uses: own }) =>
    own.map((use) => ({ id, document, use })),
  );
  if (used.length !== uses.length)
    return [`${used.length} uses of standing grants are in the ledger, ${uses.length} in the record`];
  return uses.flatMap(({ id, document, use: { n, seq, amount } }) => {
    const entry = used.find(({ facts }) => facts["seq"] === seq);
    if (entry === undefined) return [`step ${seq}: its use of \`${id}\` is not in the ledger`];
    const max = readGrant(document)?.sum?.max ?? Number.MAX_SAFE_INTEGER;
    return [
      ...differences(`step ${seq}: its use of \`${id}\``, entry, {
        grant: id,
        document: digestOf(document),
        n,
        amount,
      }),
      ...(Number(entry.facts["sum"]) <= max ? [] : [`step ${seq}: \`${id}\` was used past its sum`]),
    ];
  });
}
