import type { ApprovalState } from "../core/states.ts";
import type { Tx } from "../store/index.ts";
import { capacityOf, tableOf, votePersons } from "./capacity.ts";
import type { Capacity, StoredCapacity, Table } from "./capacity.ts";
import { ApprovalError } from "./errors.ts";
import { keyToSignWith } from "./keys.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest } from "./requests.ts";
import { countsFor, groupsAfter, isEligible, markEditor } from "./routing.ts";
import type { Vote } from "./routing.ts";
import { assertionOf, kindOf, signatureFault } from "./signature.ts";
import type { SignedStatement } from "./signature.ts";
import { nextState } from "./state.ts";
import { parseStatement, readStatement } from "./statement.ts";
import type { ApprovalStatement } from "./statement.schema.ts";
import { approvalHolds, approvalsThatHold, decisionsOf, isFallen, mismatch } from "./stored-decisions.ts";
import type { StoredDecision } from "./stored-decisions.ts";

export type DecidedRequest = {
  readonly request: ApprovalRequest;
  readonly state: ApprovalState;
  readonly statement: ApprovalStatement;
  /** As whom they decided; absent where nothing was written. */
  readonly capacity?: Capacity;
  /** False where the same reviewer had decided the same before: nothing was written. */
  readonly recorded: boolean;
};

/**
 * Takes a reviewer's signed decision. `reviewer` is who the caller authenticated, `subject` the names of whom the run acts for, where they are
 * at hand: their accounts may be newer than the request. Everything is checked under the request's lock, so
 * that two reviewers at once meet a quorum exactly once. Throws ApprovalError.
 */
export async function decideRequest(
  tx: Tx,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
  subject: readonly string[] = [],
): Promise<DecidedRequest> {
  const statement = parseStatement(signed.statement);
  const request = await lockRequest(tx, statement.request);
  if (request === undefined) throw new ApprovalError("request_missing", "there is no such approval request");
  assertSameThing(statement, request, reviewer);
  await assertSigned(tx, signed, reviewer);
  const before = await decisionsOf(tx, request.id);
  const own = before.filter((decision) => decision.reviewer === reviewer);
  const earlier = own.find((decision) => !isFallen(decision));
  if (earlier !== undefined) {
    assertHolds(request, earlier);
    if (earlier.decision === statement.decision) return { request, state: request.state, statement, recorded: false };
    throw new ApprovalError("decided_before", `\`${reviewer}\` decided \`${earlier.decision}\` before`, {
      hint: "a decision cannot be changed",
    });
  }
  assertOpen(request, now);
  assertNew(statement, own);
  const table = await tableOf(tx, request, subject);
  const capacity = await capacityOf(tx, request, reviewer, { ...table, capacities: standing(table, before) }, now);
  const afterMs = now.getTime() - request.openedAt.getTime();
  const vote = markEditor(table.editors, {
    reviewer,
    decision: statement.decision,
    groups: capacity.groups,
    persons: votePersons(capacity),
    afterMs,
    kind: kindOf(signed),
  });
  if (statement.decision === "approve") {
    assertSignedAsAsked(request, capacity.groups, afterMs, signed);
    assertNotOwnEdit(request, vote);
  }
  const votes: readonly Vote[] = [...table.votes(approvalsThatHold(request, before)), vote];
  const state = nextState(
    request.state,
    { kind: "decided", decision: statement.decision },
    request.requirements,
    votes,
  );
  if (state === undefined) throw notPending(request);
  await tx.query(
    `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, assertion, at, person, groups, delegation,
                                    for_person)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      request.id,
      reviewer,
      statement.decision,
      signed.statement,
      signed.keyId,
      signed.signature,
      assertionOf(signed),
      now,
      capacity.person,
      capacity.groups,
      capacity.mandate?.id ?? null,
      capacity.mandate?.person ?? null,
    ],
  );
  if (state !== request.state) {
    await tx.query("update approval_request set state = $2, decided_at = $3 where id = $1", [request.id, state, now]);
  }
  return { request, state, statement, capacity, recorded: true };
}

/** The same said again would be taken for said, and count for nothing: what is stored is not what this reviewer signed. */
function assertHolds(request: ApprovalRequest, earlier: StoredDecision): void {
  if (earlier.decision === "deny" || approvalHolds(request, earlier)) return;
  throw new ApprovalError("approval_fallen", `an approval of \`${earlier.reviewer}\` is stored that does not hold`, {
    hint: "somebody else has to approve in their place, or deny it, so that the agent can ask again",
  });
}

/** Who decides anew, since the key of their approval was revoked, says so anew: the same words signed with another key are the old ones. */
function assertNew({ nonce }: ApprovalStatement, fallen: readonly StoredDecision[]): void {
  if (fallen.every(({ statement }) => readStatement(statement)?.nonce !== nonce)) return;
  throw new ApprovalError("approval_fallen", "this is the statement of an approval that fell with its key", {
    hint: "look at the request again, and sign a new statement: countersign approvals approve ID",
  });
}

/** As what those have decided whose decisions stand: an approval that fell with its key keeps nobody from deciding, by whichever account. */
export function standing({ capacities }: Table, decisions: readonly StoredDecision[]): readonly StoredCapacity[] {
  const fallen = new Set(decisions.filter(isFallen).map(({ id }) => id));
  return capacities.filter(({ id }) => !fallen.has(id));
}

function assertSameThing(statement: ApprovalStatement, request: ApprovalRequest, reviewer: string): void {
  const field = mismatch(statement, request, reviewer);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the request's`);
}

async function assertSigned(tx: Tx, signed: SignedStatement, reviewer: string): Promise<void> {
  const fault = signatureFault(signed, await keyToSignWith(tx, signed.keyId, reviewer));
  if (fault !== undefined) throw new ApprovalError("signature_invalid", `signature does not count: ${fault}`);
}

export function assertOpen(request: ApprovalRequest, now: Date): void {
  if (request.state !== "pending") throw notPending(request);
  if (now >= request.expiresAt)
    throw new ApprovalError("request_expired", `request expired at ${request.expiresAt.toISOString()}`);
}

function notPending(request: ApprovalRequest): ApprovalError {
  return new ApprovalError("request_not_pending", `request is ${request.state}`);
}

/**
 * An approval that would not count for a requirement of its reviewer's groups is refused, since nobody decides twice. A denial may be signed
 * with any key: it stops, and does nothing.
 */
function assertSignedAsAsked(
  request: ApprovalRequest,
  groups: readonly string[],
  afterMs: number,
  signed: SignedStatement,
): void {
  const unmet = request.requirements.find(
    (one) => groupsAfter(one, afterMs).some((group) => groups.includes(group)) && !countsFor(one, signed),
  );
  if (unmet === undefined) return;
  throw new ApprovalError("passkey_needed", `policy \`${unmet.policy}\` takes approvals signed with a passkey only`, {
    hint: "open the request's page in a browser, and approve it there",
  });
}

/** Nobody decides twice, so an approval that counts nowhere is refused. */
function assertNotOwnEdit({ requirements }: ApprovalRequest, own: Vote): void {
  if (own.edited !== true || requirements.some((requirement) => isEligible(requirement, own))) return;
  throw new ApprovalError("self_approval", "who changed the call cannot approve it: no policy says that they count");
}
