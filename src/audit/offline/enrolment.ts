import { isGranted, parseStatement, tally } from "../../approvals/offline.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, RunRecord } from "../../core/run-record.ts";
import type { StandingGrantRecord } from "../../core/standing-grant.ts";
import { usedProblems, voteOf, wasUsed } from "../approvals/approvals.ts";
import { aheadVote } from "../approvals/standing.ts";
import { standingApproved } from "../approvals/standing-entries.ts";
import { decidedEntry, lastDecisions, unfallenProblems } from "../approvals/decided-anew.ts";
import { delegationProblems, delegationProblemsAhead } from "../approvals/delegated.ts";
import { happenedBefore } from "../ledger/happened-before.ts";
import type { Placed } from "../ledger/happened-before.ts";
import type { Enrolments } from "./enrolments.ts";
import type { FindingCode, Findings } from "./findings.ts";
import type { Leaf } from "./in-toto.ts";
import type { TrustRoots } from "./trust.ts";

/** How far the clocks of an operator's machines may be apart, in milliseconds. */
const clockToleranceMs = 5_000;

type Decided = ApprovalRecord["decisions"][number];
/** A decision, a change of a call, or what somebody said of an interrupted one. */
type Signed = Pick<Decided, "reviewer" | "keyId" | "publicKey" | "passkey" | "statement">;

/**
 * Whose the keys are that signed a run's approvals, changes of calls and what became of interrupted ones: known to the auditor, enrolled
 * in the log and not revoked when it was decided, in time, by enough members of each group, and not by who asked. Returns how many
 * signatures were looked at, whether groups were known, and which keys were enrolled without a second person.
 */
export function checkEnrolment(
  record: RunRecord,
  leaves: readonly Leaf[],
  enrolments: Enrolments | undefined,
  trust: TrustRoots,
  findings: Findings,
): { readonly signatures: number; readonly groupsKnown: boolean; readonly alone: readonly string[] } {
  const alone = new Set<string>();
  const note = ({ keyId }: Signed): void => {
    const enrolled = enrolments?.key(keyId);
    if (enrolled !== undefined && enrolled.facts["confirmedBy"] === undefined) alone.add(keyId);
  };
  const entries = leaves.map(({ entry }) => entry);
  let groupsKnown = true;
  let signatures = 0;
  for (const request of record.approvals) {
    for (const signed of request.decisions) {
      signatures += 1;
      note(signed);
      const entry = decidedEntry(entries, request, signed);
      const where = `${record.run.id} step ${request.seq}, ${signed.reviewer}`;
      const say = (check: "approvals" | "enrolment") => (code: FindingCode, message?: string) =>
        findings.add(check, code, where, message);
      if (signed.reviewer === record.run.requestedBy) say("approvals")("self_approval");
      // That it is there at all is the join's matter.
      if (entry === undefined) continue;
      lateness(request, signed, entry, say("approvals"));
      whose(signed, entry, enrolments, trust, say("enrolment"));
      if (enrolments?.whole !== true) continue;
      for (const problem of delegationProblems(signed, enrolments.people, entry))
        say("enrolment")("delegation_unfounded", `delegation \`${signed.capacity?.delegation?.id ?? ""}\`: ${problem}`);
    }
    if (enrolments?.whole === true) checkRevoked(record, request, entries, enrolments, findings);
    if (!checkGroups(record, request, trust, findings)) groupsKnown = false;
    checkUse(record, request, entries, findings);
  }
  for (const grant of record.standingGrants ?? []) {
    checkAhead(record, grant, enrolments, findings);
    checkDelegationsAhead(record, grant, enrolments, findings);
    if (!checkGroupsAhead(record, grant, trust, findings)) groupsKnown = false;
  }
  for (const { signed, seq, entry, capacity } of besideDecisions(record, leaves)) {
    signatures += 1;
    note(signed);
    const where = `${record.run.id} step ${seq}, ${signed.reviewer}`;
    if (signed.reviewer === record.run.requestedBy) findings.add("approvals", "self_approval", where);
    if (entry === undefined) continue;
    whose(signed, entry, enrolments, trust, (code, message) => findings.add("enrolment", code, where, message));
    if (enrolments?.whole !== true || capacity === undefined) continue;
    const { reviewer } = signed;
    for (const problem of delegationProblems({ reviewer, capacity }, enrolments.people, entry))
      findings.add(
        "enrolment",
        "delegation_unfounded",
        where,
        `delegation \`${capacity.delegation?.id ?? ""}\`: ${problem}`,
      );
  }
  return { signatures, groupsKnown, alone: [...alone] };
}

/** What people signed beside decisions: changes of calls, and what became of interrupted ones. Each with its entry. */
function besideDecisions(record: RunRecord, leaves: readonly Leaf[]) {
  const { edits = [], resolutions = [], standingGrants = [], approvals } = record;
  const entryWith = (kind: string, fact: string, value: unknown): LedgerEntry | undefined =>
    leaves.find(({ entry }) => entry.kind === kind && entry.facts[fact] === value)?.entry;
  return [
    ...edits.map((signed) => ({
      signed,
      capacity: signed.capacity,
      seq: approvals.find(({ id }) => id === signed.request)?.seq ?? -1,
      entry: entryWith("approval.edited", "approval", signed.request),
    })),
    ...standingGrants.flatMap(({ id, approvals: granters, uses }) =>
      granters.map((signed) => ({
        signed,
        capacity: undefined,
        seq: uses[0]?.seq ?? -1,
        entry: standingApproved(record, id).find(({ facts }) => facts["reviewer"] === signed.reviewer),
      })),
    ),
    ...resolutions.map((signed) => ({
      signed,
      capacity: undefined,
      seq: signed.seq,
      entry: entryWith("step.reconciled", "seq", signed.seq),
    })),
  ];
}

/** What of a passkey is enrolled with it: the site that it signs for is none of who makes a bundle to say. */
const passkeyFacts = ["credentialId", "rpId", "origin"] as const;

type Say = (code: FindingCode, message?: string) => void;

function lateness(request: ApprovalRecord, signed: Decided, { at }: LedgerEntry, say: Say): void {
  if (at >= request.expiresAt) say("approval_late", `it was decided at ${at}, and expired at ${request.expiresAt}`);
  const issued = issuedAt(signed);
  if (issued !== undefined && Date.parse(issued) > Date.parse(at) + clockToleranceMs)
    say("approval_late", `it was signed at ${issued}, after it was entered at ${at}`);
}

function issuedAt({ statement }: Decided): string | undefined {
  try {
    return parseStatement(statement).issuedAt;
  } catch {
    return undefined;
  }
}

function whose(
  signed: Signed,
  entry: LedgerEntry,
  enrolments: Enrolments | undefined,
  trust: TrustRoots,
  say: Say,
): void {
  const { at, facts } = entry;
  // What somebody said of a call becomes an entry only when its run goes on; until then the key has to count.
  const signedAt = typeof facts["saidAt"] === "string" ? facts["saidAt"] : at;
  const trusted = trust.approver(signed.keyId);
  if (trusted === undefined) {
    if (trust.hasApprovers) say("key_untrusted", `key \`${signed.keyId.slice(0, 12)}\` is not in the trust file`);
    else say("enrolment_unproven", "the trust file names no approvers");
  } else {
    if (trusted.principal !== signed.reviewer || trusted.publicKey !== signed.publicKey)
      say("key_of_another", `the trust file has key \`${signed.keyId.slice(0, 12)}\` as that of ${trusted.principal}`);
    if (signed.passkey !== undefined && trust.rpIds !== undefined && !trust.rpIds.has(signed.passkey.rpId))
      say("key_untrusted", `the trust file does not know passkeys of \`${signed.passkey.rpId}\``);
    if (trusted.from !== undefined && signedAt < trusted.from)
      say("key_not_yet_enrolled", `it counts from ${trusted.from} on`);
    if (trusted.until !== undefined && at >= trusted.until) say("key_revoked", `it counts until ${trusted.until}`);
  }
  if (enrolments === undefined || !enrolments.whole)
    return say("enrolment_unproven", "the whole log of enrolments is not in the bundle, or is not trusted");
  // How long the log of enrolments was then. An older state of it could hide that the key was revoked.
  const { keysSize } = facts;
  if (typeof keysSize === "number" && keysSize > enrolments.size)
    say("enrolment_unproven", `the log of enrolments had ${keysSize} entries then, and has ${enrolments.size} here`);
  const enrolled = enrolments.key(signed.keyId);
  if (enrolled === undefined) return say("key_not_enrolled");
  if (enrolled.principal !== signed.reviewer || enrolled.publicKey !== signed.publicKey)
    say("key_of_another", `key \`${signed.keyId.slice(0, 12)}\` was enrolled for ${enrolled.principal}`);
  // One that was enrolled from the command line, beside the database, says so instead: that is told, and the auditor's own list decides.
  const { confirmedBy, addedBy } = enrolled.facts;
  if (confirmedBy !== undefined && [enrolled.principal, addedBy, ""].includes(confirmedBy))
    say("key_unconfirmed", `key \`${signed.keyId.slice(0, 12)}\` was confirmed by \`${String(confirmedBy)}\``);
  const { passkey } = signed;
  if (passkey !== undefined && passkeyFacts.some((name) => enrolled.facts[name] !== passkey[name]))
    say("key_of_another", "it was enrolled as another passkey, or for another site");
  if (enrolled.addedAt > signedAt)
    say("key_not_yet_enrolled", `it was enrolled at ${enrolled.addedAt}, and used at ${signedAt}`);
  if (enrolled.times > 1) say("enrolled_twice");
  // The place in the log counts too, whatever time an entry says.
  if (enrolled.revoked !== undefined && happenedBefore(enrolled.revoked, entry))
    say(
      "key_revoked",
      `it was revoked at ${enrolled.revoked.entry.at} (entry ${enrolled.revoked.index}), and used at ${at}`,
    );
}

/** Whether the groups of all who agreed are known. Where they are, each group has its quorum of different people. */
function checkGroups(record: RunRecord, request: ApprovalRecord, trust: TrustRoots, findings: Findings): boolean {
  const agreed = lastDecisions(request).filter(({ decision }) => decision === "approve");
  const groups = agreed.map(({ keyId }) => trust.approver(keyId)?.groups);
  if (groups.some((known) => known === undefined)) return false;
  // Whose group a delegate decided for is the operator's word, and not in the trust file.
  if (agreed.some(({ capacity }) => capacity?.delegation !== undefined)) return false;
  if (!wasUsed(request.state) && request.state !== "approved") return true;
  const votes = agreed.map((signed, place) => ({ ...voteOf(record, request, signed), groups: groups[place] ?? [] }));
  const counts = tally(request.requirements, votes);
  for (const [index, { group, orGroups = [], quorum }] of request.requirements.entries()) {
    const count = counts[index] ?? 0;
    if (count >= quorum) continue;
    const code = agreed.length >= quorum ? "not_in_group" : "quorum_not_met";
    const where = `${record.run.id} step ${request.seq}`;
    findings.add("approvals", code, where, `${count} of ${[group, ...orGroups].join(" or ")} agreed, ${quorum} had to`);
  }
  return true;
}

/** A standing grant is used only while the keys that signed it count. */
function checkAhead(
  { run }: RunRecord,
  { id, approvals, uses }: StandingGrantRecord,
  enrolments: Enrolments | undefined,
  findings: Findings,
): void {
  for (const { keyId, reviewer } of approvals) {
    const revokedAt = enrolments?.key(keyId)?.revoked?.entry.at;
    const after = revokedAt === undefined ? undefined : uses.find(({ at }) => revokedAt <= at);
    if (after !== undefined)
      findings.add(
        "enrolment",
        "key_revoked",
        `${run.id} step ${after.seq}, ${reviewer}`,
        `\`${id}\` was used at ${after.at}, and the key was revoked at ${revokedAt ?? ""}`,
      );
  }
}

/** Whoever approved a standing grant for somebody else had been given that, also when it was used. */
function checkDelegationsAhead(
  record: RunRecord,
  grant: StandingGrantRecord,
  enrolments: Enrolments | undefined,
  findings: Findings,
): void {
  if (enrolments?.whole !== true) return;
  const approved = standingApproved(record, grant.id);
  for (const { reviewer, delegation, problem } of delegationProblemsAhead(grant, enrolments.people, approved))
    findings.add(
      "enrolment",
      "delegation_unfounded",
      `${record.run.id}, ${grant.id}, ${reviewer}`,
      `delegation \`${delegation}\`: ${problem}`,
    );
}

/** The same as `checkGroups`, of those who approved a standing grant. */
function checkGroupsAhead(
  { run }: RunRecord,
  { id, terms, approvals }: StandingGrantRecord,
  trust: TrustRoots,
  findings: Findings,
): boolean {
  const groups = approvals.map(({ keyId }) => trust.approver(keyId)?.groups);
  if (groups.some((known) => known === undefined)) return false;
  // Whose group a delegate approved it for is the operator's word, and not in the trust file.
  if (approvals.some(({ delegation }) => delegation !== undefined)) return false;
  const votes = approvals.map((one, place) => aheadVote(one, groups[place] ?? []));
  if (!isGranted(terms, votes))
    findings.add(
      "approvals",
      "not_in_group",
      `${run.id}, ${id}`,
      "fewer members of the groups approved it than had to",
    );
  return true;
}

/** Who decided anew had a key revoked before, and a grant that was used had enough approvals by keys that were not revoked by then. */
function checkRevoked(
  record: RunRecord,
  request: ApprovalRecord,
  entries: readonly LedgerEntry[],
  enrolments: Enrolments,
  findings: Findings,
): void {
  const revoked = (keyId: string): readonly Placed[] => {
    const entry = enrolments.key(keyId)?.revoked;
    return entry === undefined ? [] : [entry];
  };
  const where = `${record.run.id} step ${request.seq}`;
  const entryOf = (one: Decided): LedgerEntry | undefined => decidedEntry(entries, request, one);
  for (const { reviewer, problem } of unfallenProblems(request, revoked, entryOf))
    findings.add("approvals", "approval_invalid", `${where}, ${reviewer}`, problem);
  for (const problem of usedProblems(record, request, entries, revoked))
    findings.add("approvals", "quorum_not_met", where, problem);
}

/** A grant that was used, was used in time. */
function checkUse(
  { run }: RunRecord,
  request: ApprovalRecord,
  entries: readonly LedgerEntry[],
  findings: Findings,
): void {
  const used = entries.find(({ kind, facts }) => kind === "approval.consumed" && facts["approval"] === request.id);
  if (used !== undefined && used.at >= request.expiresAt)
    findings.add(
      "approvals",
      "approval_late",
      `${run.id} step ${request.seq}`,
      `it was used at ${used.at}, and expired at ${request.expiresAt}`,
    );
}
