import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { assertMayDecide, assertOpen, groupsOf } from "./decisions.ts";
import { editKind } from "./edit.schema.ts";
import type { EditStatement } from "./edit.schema.ts";
import { ApprovalError } from "./errors.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest } from "./requests.ts";
import { assertSignedBy, parseSigned, readSigned, verifyText } from "./signed-text.ts";
import { decisionsOf, statementFacts } from "./stored-decisions.ts";
import type { SignedStatement } from "./stored-decisions.ts";

/** A reviewer's change of a call, as it is kept. */
export type Edit = SignedStatement & {
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly editors: readonly string[];
  readonly arguments: Digest;
  readonly action: Digest;
  readonly at: Date;
  /** The request that the new action needed in turn. */
  readonly successor: ApprovalId | null;
  readonly publicKey: string;
  readonly keyOwner: string;
  readonly keyAddedAt: Date;
  readonly keyRevokedAt: Date | null;
};

const columns = `e.request, e.reviewer, e.editors, e.arguments, e.action, e.statement, e.signature, e.key_id as "keyId", e.at, e.successor,
  key.public_key as "publicKey", key.principal as "keyOwner", key.added_at as "keyAddedAt", key.revoked_at as "keyRevokedAt"`;
const tables = "approval_edit e join reviewer_key key on key.key_id = e.key_id";

/** The edit that ended this request. */
export async function editOf(tx: Tx, request: ApprovalId): Promise<Edit | undefined> {
  const { rows } = await tx.query<Edit>(`select ${columns} from ${tables} where e.request = $1`, [request]);
  return rows[0];
}

/** The edit whose action this request is about. */
export async function editBehind(tx: Tx, successor: ApprovalId): Promise<Edit | undefined> {
  const { rows } = await tx.query<Edit>(`select ${columns} from ${tables} where e.successor = $1`, [successor]);
  return rows[0];
}

export async function editsOf(tx: Tx, run: RunId): Promise<readonly Edit[]> {
  const { rows } = await tx.query<Edit>(
    `select ${columns} from ${tables} join approval_request asked on asked.id = e.request where asked.run = $1 order by e.request`,
    [run],
  );
  return rows;
}

/** The new action needed an approval of its own: whoever changed the call is no approver of it, unless its policy says so. */
export async function linkSuccessor(tx: Tx, request: ApprovalId, successor: ApprovalId): Promise<void> {
  await tx.query("update approval_edit set successor = $2 where request = $1 and successor is null", [
    request,
    successor,
  ]);
}

export type EditedCall = {
  /** Digests of the new arguments, which the caller has stored, and of the action with them, which the caller has worked out. */
  readonly arguments: Digest;
  readonly action: Digest;
};

/**
 * Takes a reviewer's change of a call. The request ends with it; what becomes of the new action is the gate's to decide. Who may edit is
 * who may decide. Throws ApprovalError.
 */
export async function editRequest(
  tx: Tx,
  signed: SignedStatement,
  edited: EditedCall,
  reviewer: string,
  now: Date,
): Promise<{ readonly request: ApprovalRequest; readonly statement: EditStatement }> {
  const statement = parseSigned(editKind, signed.statement);
  const request = await lockRequest(tx, statement.request);
  if (request === undefined) throw new ApprovalError("request_missing", "there is no such approval request");
  const field = mismatch(statement, request, reviewer, edited);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the request's`);
  await assertSignedBy(tx, editKind.type, signed, reviewer);
  assertOpen(request, now);
  assertMayDecide(request, reviewer, await groupsOf(tx, reviewer));
  if (edited.action === request.action)
    throw new ApprovalError("nothing_changed", "the arguments are the same as before");
  if ((await decisionsOf(tx, request.id)).some((decision) => decision.reviewer === reviewer))
    throw new ApprovalError("decided_before", `\`${reviewer}\` decided on it before`, {
      hint: "a decision cannot be changed",
    });
  const before = (await editBehind(tx, request.id))?.editors ?? [];
  await tx.query(
    `insert into approval_edit (request, reviewer, editors, arguments, action, statement, key_id, signature, at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      request.id,
      reviewer,
      [...new Set([...before, reviewer])],
      edited.arguments,
      edited.action,
      signed.statement,
      signed.keyId,
      signed.signature,
      now,
    ],
  );
  await tx.query("update approval_request set state = 'cancelled', decided_at = $2 where id = $1", [request.id, now]);
  return { request: { ...request, state: "cancelled" }, statement };
}

function mismatch(
  statement: EditStatement,
  request: ApprovalRequest,
  reviewer: string,
  edited: EditedCall,
): string | undefined {
  const expected: Partial<EditStatement> = {
    ...statementFacts(request),
    type: editKind.type,
    reviewer,
    arguments: edited.arguments,
    edited: edited.action,
  };
  return Object.entries(expected).find(([name, value]) => statement[name as keyof EditStatement] !== value)?.[0];
}

/** What an edit says, from what was signed alone, or undefined where it does not hold: rows can be written past this code. */
export function heldEdit(request: ApprovalRequest, edit: Edit): EditStatement | undefined {
  const { reviewer, keyOwner, keyRevokedAt, keyAddedAt, at } = edit;
  if (request.state !== "cancelled" || reviewer === request.requestedBy) return undefined;
  if (keyOwner !== reviewer || keyRevokedAt !== null || keyAddedAt > at || at >= request.expiresAt) return undefined;
  if (!verifyText(editKind.type, edit.statement, edit.signature, edit.publicKey)) return undefined;
  const statement = readSigned(editKind, edit.statement);
  return statement !== undefined && mismatch(statement, request, reviewer, edit) === undefined ? statement : undefined;
}

/** Edits whose runs may not know it yet, oldest first. */
export async function untoldEdits(
  tx: Tx,
  limit: number,
): Promise<readonly { readonly id: ApprovalId; readonly run: RunId }[]> {
  const { rows } = await tx.query<{ id: ApprovalId; run: RunId }>(
    `select e.request as id, asked.run from approval_edit e join approval_request asked on asked.id = e.request
     where e.signalled_at is null order by e.at limit $1`,
    [limit],
  );
  return rows;
}

export async function markEditTold(tx: Tx, request: ApprovalId, now: Date): Promise<void> {
  await tx.query("update approval_edit set signalled_at = $2 where request = $1 and signalled_at is null", [
    request,
    now,
  ]);
}
