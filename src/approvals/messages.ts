import type { ApprovalId, Digest } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { capacityOf, tableOf } from "./capacity.ts";
import { assertOpen } from "./decisions.ts";
import { ApprovalError } from "./errors.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest } from "./requests.ts";

/** A question about a request, or an answer to what was asked. */
export type Message = {
  readonly request: ApprovalId;
  /** Its place, dense from 0. */
  readonly n: number;
  readonly kind: "question" | "answer";
  readonly author: string;
  /** Digest of the text, which is in the payload store. */
  readonly content: Digest;
  readonly at: Date;
};

const maxMessages = 100;

export async function messagesOf(tx: Tx, request: ApprovalId): Promise<readonly Message[]> {
  const { rows } = await tx.query<Message>(
    "select request, n, kind, author, content, at from approval_message where request = $1 order by n",
    [request],
  );
  return rows;
}

type NewMessage = {
  readonly request: ApprovalId;
  readonly author: string;
  readonly content: Digest;
  readonly now: Date;
};

/** Asks back: who may decide may ask. The request's time goes on. Throws ApprovalError. */
export async function askAbout(
  tx: Tx,
  message: NewMessage,
): Promise<{ readonly request: ApprovalRequest; readonly message: Message }> {
  const request = await openRequestFor(tx, message);
  // Who has decided may ask on.
  await capacityOf(tx, request, message.author, { ...(await tableOf(tx, request, [])), capacities: [] }, message.now);
  return { request, message: await append(tx, message, "question") };
}

/**
 * Answers what was asked: who asked for the run, or somebody with the role `operator`. An answer is no decision, and nobody's authority.
 * Throws ApprovalError.
 */
export async function answerQuestion(
  tx: Tx,
  message: NewMessage,
): Promise<{ readonly request: ApprovalRequest; readonly message: Message }> {
  const request = await openRequestFor(tx, message);
  const { rows } = await tx.query<{ roles: string[] }>(
    "select roles_for(roles, role_teams, $2) as roles from principal where id = $1",
    [message.author, request.team],
  );
  if (message.author !== request.requestedBy && rows[0]?.roles.includes("operator") !== true)
    throw new ApprovalError("not_in_group", "an answer comes from who asked for the run, or from an operator");
  if (!(await messagesOf(tx, request.id)).some(({ kind }) => kind === "question"))
    throw new ApprovalError("nothing_asked", "nobody has asked anything");
  return { request, message: await append(tx, message, "answer") };
}

async function openRequestFor(tx: Tx, { request: id, now }: NewMessage): Promise<ApprovalRequest> {
  const request = await lockRequest(tx, id);
  if (request === undefined) throw new ApprovalError("request_missing", "there is no such approval request");
  assertOpen(request, now);
  return request;
}

/** The request's row is locked, so numbers are dense. */
async function append(tx: Tx, { request, author, content, now }: NewMessage, kind: Message["kind"]): Promise<Message> {
  const n = (await messagesOf(tx, request)).length;
  if (n >= maxMessages) throw new ApprovalError("too_many_messages", `a request has at most ${maxMessages} messages`);
  await tx.query(
    "insert into approval_message (request, n, kind, author, content, at) values ($1, $2, $3, $4, $5, $6)",
    [request, n, kind, author, content, now],
  );
  return { request, n, kind, author, content, at: now };
}
