import { z } from "zod";

import { approvalContext } from "./approval-context.schema.ts";
import { approvalId, digest, json, jsonObject, name, pageSize, principalId, runId, time } from "./common.schema.ts";
import { approvalStates } from "./vocabulary.ts";

export const approvalState = z.enum(approvalStates);

const requirement = z.object({
  policy: z.string(),
  group: z.string(),
  quorum: z.int(),
  expiresMs: z.int(),
});

export const approvalSummary = z
  .object({
    id: approvalId,
    run: runId,
    team: name,
    seq: z.int(),
    name: z.string().describe("the tool or model that waits"),
    action: digest,
    state: approvalState,
    requirements: z.array(requirement),
    requestedBy: principalId.describe("who started the run"),
    openedAt: time,
    expiresAt: time,
    unanswered: z.boolean().describe("a reviewer asked something, and nobody has answered yet"),
    decidedBy: z.array(z.object({ reviewer: principalId, decision: z.enum(["approve", "deny"]), at: time })),
  })
  .meta({ id: "ApprovalSummary" });
export type ApprovalSummary = z.output<typeof approvalSummary>;

export const listApprovalsQuery = z.strictObject({
  team: name.optional(),
  state: approvalState.optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const approvalPage = z.object({ approvals: z.array(approvalSummary), next: z.string().nullable() });

/**
 * What a reviewer signs, without what is theirs to say: `decision`, `reviewer`, `reason` and `issuedAt`. A careful client takes nothing
 * of it on trust: it hashes the text that it shows, and signs that digest as `rendered`.
 */
const statementTemplate = z.object({
  v: z.literal(1),
  type: z.literal("countersign/approval/v1"),
  request: approvalId,
  team: name,
  run: runId,
  seq: z.int(),
  action: digest,
  rendered: digest,
  policySet: digest,
  nonce: z.string(),
  expiresAt: time,
});

const approvalMessage = z.object({
  n: z.int(),
  kind: z.enum(["question", "answer"]),
  author: principalId,
  text: z.string().nullable().describe("what would hide in it is written out; null: it was erased"),
  at: time,
});
export const messageBody = z.strictObject({ text: z.string().trim().min(1).max(4_000) });
export const messagePage = z.object({ messages: z.array(approvalMessage) });

export const approvalDetail = approvalSummary
  .extend({
    rendered: z.string().describe("the action as text, made by the gate and not by the agent"),
    statement: statementTemplate,
    context: approvalContext,
    messages: z.array(approvalMessage),
    call: json.nullable().describe("exactly what would be done, to hash and to edit; null: it cannot be edited"),
    editedBy: principalId.nullable().describe("who ended this request by changing the call"),
    successor: approvalId.nullable().describe("the request that the changed call needed"),
    editOf: approvalId.nullable().describe("the request whose changed call this is about"),
    editors: z
      .array(principalId)
      .describe("whose changes are in the call: they cannot approve it unless its policy says so"),
  })
  .meta({ id: "ApprovalDetail" });
export type ApprovalDetail = z.output<typeof approvalDetail>;

export const decideBody = z.strictObject({
  statement: z.string().min(2).max(20_000).describe("the RFC 8785 text of the statement"),
  signature: z
    .string()
    .max(200)
    .describe("Ed25519 over `countersign/approval/v1`, a newline and the statement's bytes, base64"),
  keyId: z.string().min(1).max(200).describe("SHA-256 of the public key's SPKI bytes"),
});

export const editBody = decideBody.extend({ arguments: jsonObject.describe("all of the new arguments") });
export const editedApproval = z.object({
  approval: approvalSummary,
  action: digest.describe("of the call as it was changed"),
  /** Whether the run has been told; if not, it is within seconds. */
  woken: z.boolean(),
});

export const decidedApproval = z.object({
  approval: approvalSummary,
  /** False: the same reviewer had decided the same before. */
  recorded: z.boolean(),
  /** Whether the run has been told; if not, it is within seconds. */
  woken: z.boolean(),
});
