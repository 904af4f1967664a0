import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { capacityOf, tableOf, votePersons, wantedAt } from "./capacity.ts";
import type { Capacity } from "./capacity.ts";
import { assertOpen, standing } from "./decisions.ts";
import { mandatesOf, mayDecide } from "./delegations.ts";
import { editKind } from "./edit.schema.ts";
import type { EditStatement } from "./edit.schema.ts";
import { ApprovalError } from "./errors.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest, Undelivered } from "./requests.ts";
import { barOf } from "./barred.ts";
import { barredFrom } from "./separation.ts";
import type { SignedStatement } from "./signature.ts";
import { assertSignedBy, isSignedBy, storedKeyColumns } from "./signed-by.ts";
import type { StoredKey } from "./signed-by.ts";
import { parseSigned, readSigned } from "./signed-text.ts";
import { decisionsOf, isFallen, statementFacts } from "./stored-decisions.ts";

/** A reviewer's change of a call, as it is kept. */
export type Edit = StoredKey & {
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly statement: string;
  readonly keyId: string;
  readonly signature: string;
  /** Accounts, and the persons that they were and decided for at that time: of this edit and of those before it. */
  readonly editors: readonly string[];
  readonly persons: readonly string[];
  /** As whom they changed it; null in rows from before it was recorded. */
  readonly person: string | null;
  readonly groups: readonly string[] | null;
  readonly delegation: string | null;
  readonly forPerson: string | null;
  readonly arguments: Digest;
  readonly action: Digest;
  readonly at: Date;
  /** The request that the new action needed in turn. */
  readonly successor: ApprovalId | null;
};

const columns = `e.request, e.reviewer, e.editors, e.persons, e.arguments, e.action, e.statement, e.signature, e.key_id as "keyId", e.at,
  e.person, e.groups, e.delegation, e.for_person as "forPerson",
  e.successor, ${storedKeyColumns}`;
const tables = "approval_edit e join reviewer_key k on k.key_id = e.key_id";

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
 * who may decide; where a policy takes approvals by passkey only, nobody, since an edit is signed with a key file. Throws ApprovalError.
 */
export async function editRequest(
  tx: Tx,
  signed: SignedStatement,
  edited: EditedCall,
  reviewer: string,
  now: Date,
  subject: readonly string[] = [],
): Promise<{
  readonly request: ApprovalRequest;
  readonly statement: EditStatement;
  readonly persons: readonly string[];
  readonly capacity: Capacity;
}> {
  const statement = parseSigned(editKind, signed.statement);
  const request = await lockRequest(tx, statement.request);
  if (request === undefined) throw new ApprovalError("request_missing", "there is no such approval request");
  const field = mismatch(statement, request, reviewer, edited);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the request's`);
  await assertSignedBy(tx, editKind.type, signed, reviewer);
  assertOpen(request, now);
  assertKeyFileWillDo(request);
  if (edited.action === request.action)
    throw new ApprovalError("nothing_changed", "the arguments are the same as before");
  const decisions = await decisionsOf(tx, request.id);
  if (decisions.some((decision) => decision.reviewer === reviewer && !isFallen(decision)))
    throw new ApprovalError("decided_before", `\`${reviewer}\` decided on it before`, {
      hint: "a decision cannot be changed",
    });
  const table = await tableOf(tx, request, subject);
  const capacity = await capacityOf(tx, request, reviewer, { ...table, capacities: standing(table, decisions) }, now);
  const before = await editBehind(tx, request.id);
  const persons = [...new Set([...(before?.persons ?? []), ...votePersons(capacity)])];
  await tx.query(
    `insert into approval_edit (request, reviewer, editors, persons, arguments, action, statement, key_id, signature, at,
                                person, groups, delegation, for_person)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      request.id,
      reviewer,
      [...new Set([...(before?.editors ?? []), reviewer])],
      persons,
      edited.arguments,
      edited.action,
      signed.statement,
      signed.keyId,
      signed.signature,
      now,
      capacity.person,
      capacity.groups,
      capacity.mandate?.id ?? null,
      capacity.mandate?.person ?? null,
    ],
  );
  // Without `decided_at`: nobody has approved what was asked, and nothing may read it so.
  await tx.query("update approval_request set state = 'cancelled' where id = $1", [request.id]);
  return { request: { ...request, state: "cancelled" }, statement, persons, capacity };
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

/** A requirement of a passkey is not to be got round with a key file: nobody's edit ends such a request. */
function assertKeyFileWillDo({ requirements }: ApprovalRequest): void {
  const strict = requirements.find(({ signed }) => signed !== undefined);
  if (strict === undefined) return;
  throw new ApprovalError(
    "passkey_needed",
    `policy \`${strict.policy}\` takes what is signed with a passkey only, and a change of the call is signed with a key file`,
    { hint: "deny it, with a reason that says what would do" },
  );
}

/**
 * What an edit says, from what was signed, or undefined where it does not hold: rows can be written past this code. The key has to have
 * counted when it signed, and must not be revoked now; neither the editor, then or now, nor for whom they decided may be one who is
 * barred from deciding. `subject`: the names of whom the run acts for.
 */
export async function heldEdit(
  tx: Tx,
  request: ApprovalRequest,
  edit: Edit,
  subject: readonly string[],
): Promise<EditStatement | undefined> {
  const { reviewer, at } = edit;
  if (request.state !== "cancelled" || at < request.openedAt || at >= request.expiresAt) return undefined;
  if (request.requirements.some(({ signed }) => signed !== undefined)) return undefined;
  // Whose change is in the call must be said whole: those named count for nothing as approvers.
  const before = await editBehind(tx, edit.request);
  if (![...(before?.editors ?? []), reviewer].every((name) => edit.editors.includes(name))) return undefined;
  if (![edit.person, edit.forPerson].every((name) => name === null || edit.persons.includes(name))) return undefined;
  if (edit.persons.length === 0 || before?.persons.every((name) => edit.persons.includes(name)) === false)
    return undefined;
  if (!(await isSignedBy(tx, editKind.type, edit, reviewer))) return undefined;
  const { rows } = await tx.query<{ person: string }>(
    "select coalesce(person, id) as person from principal where id = $1",
    [reviewer],
  );
  const names = [...edit.editors, ...edit.persons, reviewer, ...rows.map(({ person }) => person)];
  const barred = [...request.barred, ...(await barredFrom(tx, request.run, subject))];
  if (barOf(barred, names) !== undefined || subject.some((name) => names.includes(name))) return undefined;
  if (!(await mightEdit(tx, request, edit))) return undefined;
  const statement = readSigned(editKind, edit.statement);
  return statement !== undefined && mismatch(statement, request, reviewer, edit) === undefined ? statement : undefined;
}

/**
 * Whether the editor still has a role, and a group of those that were asked then and that they had: as themselves, or for whom they changed
 * it, by the delegation that was recorded, if it was in force then. Older rows do not say as whom: there any of these does.
 */
async function mightEdit(tx: Tx, request: ApprovalRequest, edit: Edit): Promise<boolean> {
  const { reviewer, persons, at } = edit;
  const wanted = wantedAt(request, at).filter((group) => edit.groups === null || edit.groups.includes(group));
  const { rows } = await tx.query<{ may: boolean; groups: readonly string[] }>(
    `select ${mayDecide("principal", "$2")} as may, groups from principal where id = $1`,
    [reviewer, request.team],
  );
  const isAsked = (groups: readonly string[]): boolean => groups.some((group) => wanted.includes(group));
  if (rows[0]?.may !== true) return false;
  if (edit.delegation === null && isAsked(rows[0].groups)) return true;
  if (edit.delegation === null && edit.person !== null) return false;
  const mandates = await mandatesOf(tx, reviewer, request, at);
  return mandates.some(
    ({ id, person, groups }) =>
      (edit.delegation === null || edit.delegation === id) && persons.includes(person) && isAsked(groups),
  );
}

/** Edits whose runs may not know it yet, as `undelivered` has decisions. */
export async function untoldEdits(tx: Tx, limit: number, after?: Undelivered): Promise<readonly Undelivered[]> {
  const { rows } = await tx.query<Undelivered>(
    `select e.request as id, asked.run, e.at::text as at from approval_edit e join approval_request asked on asked.id = e.request
     where e.signalled_at is null and ($2::timestamptz is null or (e.at, e.request) > ($2::timestamptz, $3::text))
     order by e.at, e.request limit $1`,
    [limit, after?.at ?? null, after?.id ?? null],
  );
  return rows;
}

export async function markEditTold(tx: Tx, request: ApprovalId, now: Date): Promise<void> {
  await tx.query("update approval_edit set signalled_at = $2 where request = $1 and signalled_at is null", [
    request,
    now,
  ]);
}
