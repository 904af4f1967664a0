import { peopleLog } from "../../core/ids.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, EditRecord, LedgerExcerpt, RunRecord } from "../../core/run-record.ts";
import {
  formatVerifierKey,
  leafHash,
  openCheckpoint,
  scanEntry,
  parseVerifierKey,
  verifierKeyOf,
  verifyInclusion,
} from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { usedProblems } from "./approvals.ts";
import { decidedEntry, unfallenProblems } from "./decided-anew.ts";
import { delegationProblems, delegationProblemsAhead } from "./delegated.ts";
import { differences } from "../differences.ts";
import { happenedBefore } from "../ledger/happened-before.ts";
import type { Placed } from "../ledger/happened-before.ts";
import { readableEntries } from "../ledger/readable-entries.ts";
import { check, notChecked } from "../report.ts";
import { standingApproved } from "./standing-entries.ts";
import type { AuditCheck } from "../report.ts";

/** A decision, a change of a call, or what somebody said of an interrupted one. */
type Signed = Pick<ApprovalRecord["decisions"][number], "reviewer" | "keyId" | "publicKey" | "passkey">;

/** What the log of people says of one key. */
type KeyEntries = { readonly added: readonly Placed[]; readonly revoked: readonly Placed[] };

/**
 * Whose each signature is, and that whoever decided for somebody had been given it: the key's enrolment in the log of people, proved to be in it, by two people or said to be without, before the
 * decision; and no revocation before the decision, or before a grant that rests on it was used. `verifierKey` is of the run's log: all logs
 * of a ledger are signed with one key, each under its own name.
 */
export function checkKeys(record: RunRecord, verifierKey: string): AuditCheck {
  const { edits = [], resolutions = [], standingGrants = [] } = record;
  const ahead = standingGrants.flatMap(({ id, approvals, uses }) => approvals.map((one) => ({ ...one, id, uses })));
  const signed = [...record.approvals.flatMap(({ decisions }) => decisions), ...edits, ...resolutions, ...ahead];
  const signers = new Set(signed.map(({ keyId }) => keyId));
  if (signers.size === 0) return check("keys", "nobody signed anything", []);
  const { keys } = record;
  if (keys === undefined) return notChecked("keys", "the record does not say how the keys that signed were enrolled");
  const { placed, problems, uncovered } = openEntries(keys, peopleKeyOf(verifierKey));
  if (problems.length === 0 && (uncovered || keys.waiting > 0))
    return notChecked("keys", "enrolments are not all in the signed log yet; ask again");
  const byKey = new Map([...signers].map((keyId) => [keyId, entriesOf(placed, keyId)]));
  const run = readableEntries(record.ledger.entries).map(({ entry }) => entry);
  const found = record.approvals.flatMap((request) => [
    ...request.decisions.flatMap((signed) =>
      signedProblems(signed, byKey.get(signed.keyId) as KeyEntries, decidedEntry(run, request, signed)).map(
        (problem) => `${signed.reviewer}'s key on \`${request.id}\`: ${problem}`,
      ),
    ),
    ...usedProblems(record, request, run, (keyId) => byKey.get(keyId)?.revoked ?? []),
  ]);
  const beside = [
    ...edits.map((edit) => ({ edit, what: `change of \`${edit.request}\``, entry: editedEntry(run, edit) })),
    ...ahead.map((approval) => ({
      edit: approval,
      what: `approval of \`${approval.id}\``,
      entry: standingApproved(record, approval.id).find(({ facts }) => facts["reviewer"] === approval.reviewer),
    })),
    ...resolutions.map((said) => ({
      edit: said,
      what: `word on step ${said.seq}`,
      entry: run.find(({ kind, facts }) => kind === "step.reconciled" && facts["seq"] === said.seq),
    })),
  ].flatMap(({ edit, what, entry }) =>
    signedProblems(edit, byKey.get(edit.keyId) as KeyEntries, entry).map(
      (problem) => `${edit.reviewer}'s key on the ${what}: ${problem}`,
    ),
  );
  const unfallen = record.approvals.flatMap((request) =>
    unfallenProblems(
      request,
      (keyId) => byKey.get(keyId)?.revoked ?? [],
      (one) => decidedEntry(run, request, one),
    ).map(({ reviewer, problem }) => `${reviewer} ${problem}`),
  );
  const gone = ahead
    .filter(({ keyId, uses }) =>
      uses.some(({ at }) => byKey.get(keyId)?.revoked.some(({ entry }) => entry.at < at) === true),
    )
    .map(({ id, reviewer }) => `\`${id}\` was used after ${reviewer}'s key was revoked`);
  const delegated = record.approvals.flatMap((request) =>
    request.decisions.flatMap((signed) =>
      delegationProblems(signed, placed, decidedEntry(run, request, signed)).map(
        (problem) => `${signed.reviewer}'s delegation on \`${request.id}\`: ${problem}`,
      ),
    ),
  );
  const delegatedEdits = edits.flatMap((edit) =>
    delegationProblems(edit, placed, editedEntry(run, edit)).map(
      (problem) => `${edit.reviewer}'s delegation on the change of \`${edit.request}\`: ${problem}`,
    ),
  );
  const delegatedAhead = standingGrants.flatMap((grant) =>
    delegationProblemsAhead(grant, placed, standingApproved(record, grant.id)).map(
      ({ reviewer, problem }) => `${reviewer}'s delegation on \`${grant.id}\`: ${problem}`,
    ),
  );
  const unheld = edits.flatMap((edit) => unheldProblems(edit, byKey.get(edit.keyId) as KeyEntries, run));
  const alone = [...byKey.values()].filter(({ added }) => added[0]?.entry.facts["confirmedBy"] === undefined).length;
  const detail = `${signers.size} keys enrolled${alone === 0 ? " by two people each" : `, ${alone} of them without a second person`}`;
  return check("keys", detail, [
    ...problems,
    ...found,
    ...beside,
    ...unfallen,
    ...gone,
    ...delegated,
    ...delegatedEdits,
    ...delegatedAhead,
    ...unheld,
  ]);
}

/** The verifier key of the log of people, from that of another log of the same ledger. */
export function peopleKeyOf(verifierKey: string): string {
  const { name, publicKey } = parseVerifierKey(verifierKey);
  return formatVerifierKey(verifierKeyOf(name.replace(/[^/]*$/, peopleLog), publicKey));
}

function openEntries(keys: LedgerExcerpt, verifierKey: string) {
  const placed: Placed[] = [];
  const problems: string[] = [];
  let uncovered = keys.checkpoint === null;
  try {
    const checkpoint =
      keys.checkpoint === null ? undefined : openCheckpoint(keys.checkpoint, parseVerifierKey(verifierKey));
    for (const { index, leaf, proof } of keys.entries) {
      const bytes = Buffer.from(leaf, "utf8");
      const entry = scanEntry(bytes);
      if (checkpoint === undefined || proof === undefined) uncovered = true;
      else assertIncluded(checkpoint, index, bytes, proof);
      if (entry.log === peopleLog) placed.push({ index, entry });
      else problems.push(`entry ${index} is of log \`${entry.log}\``);
    }
  } catch (error) {
    problems.push(`the log of people: ${error instanceof Error ? error.message : "cannot be read"}`);
  }
  return { placed, problems, uncovered };
}

function assertIncluded(checkpoint: Checkpoint, index: number, leaf: Uint8Array, proof: readonly string[]): void {
  verifyInclusion({
    index,
    size: checkpoint.size,
    leafHash: leafHash(leaf),
    proof: proof.map((hash) => Buffer.from(hash, "hex")),
    root: checkpoint.root,
  });
}

function entriesOf(placed: readonly Placed[], keyId: string): KeyEntries {
  const of = (kind: string): readonly Placed[] =>
    placed.filter(({ entry }) => entry.kind === kind && entry.facts["keyId"] === keyId);
  return { added: of("approver.key.added"), revoked: of("approver.key.revoked") };
}

function editedEntry(run: readonly LedgerEntry[], { request }: EditRecord): LedgerEntry | undefined {
  return run.find(({ kind, facts }) => kind === "approval.edited" && facts["approval"] === request);
}

/** A change that a step went on with must have been signed with a key that was not revoked by then. */
function unheldProblems(
  { request, reviewer }: EditRecord,
  { revoked }: KeyEntries,
  run: readonly LedgerEntry[],
): readonly string[] {
  const gone = run.some(
    ({ kind, facts, at }) =>
      kind === "step.decided" &&
      facts["edit"] === request &&
      facts["outcome"] !== "deny" &&
      revoked.some(({ entry }) => entry.at < at),
  );
  return gone ? [`${reviewer}'s change of \`${request}\` was gone by when its key was revoked`] : [];
}

function signedProblems(
  signed: Signed,
  { added: [added, ...others], revoked }: KeyEntries,
  decided: LedgerEntry | undefined,
): readonly string[] {
  if (added === undefined || others.length > 0)
    return [`it was enrolled ${added === undefined ? 0 : 1 + others.length} times`];
  const { reviewer, publicKey, passkey } = signed;
  const { confirmedBy } = added.entry.facts;
  const isAlone = confirmedBy !== undefined && [reviewer, added.entry.facts["addedBy"]].includes(String(confirmedBy));
  return [
    ...differences("its enrolment", added.entry, {
      principal: reviewer,
      publicKey,
      ...(passkey === undefined
        ? {}
        : { kind: "webauthn", credentialId: passkey.credentialId, rpId: passkey.rpId, origin: passkey.origin }),
    }),
    // Enrolments from before passkeys do not say the kind: all were Ed25519.
    ...(passkey === undefined && (added.entry.facts["kind"] ?? "ed25519") !== "ed25519"
      ? ["it was enrolled as a passkey, and signs as a key file"]
      : []),
    ...(isAlone ? ["no second person confirmed it"] : []),
    // A decision that is not in the ledger is the `join` check's to say.
    ...(decided === undefined || happenedBefore(added, decided, saidAt(decided))
      ? []
      : ["it was enrolled after it had signed"]),
    ...(decided !== undefined && revoked.some((entry) => happenedBefore(entry, decided))
      ? ["it was revoked before it signed"]
      : []),
  ];
}

/** When it was signed: what somebody said of a call becomes an entry only when its run goes on. */
function saidAt({ facts, at }: LedgerEntry): string {
  return typeof facts["saidAt"] === "string" ? facts["saidAt"] : at;
}
