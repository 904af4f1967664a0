import { z } from "zod";

import { barReasons } from "../core/decision.ts";
import { renderHints } from "../core/render.ts";
import { approvalContext } from "./approval-context.schema.ts";
import { approvalId, digest, json, jsonObject, name, pageSize, principalId, runId, time } from "./common.schema.ts";
import { noticeView } from "./receivers.schema.ts";
import { approvalStates } from "../core/states.ts";

export const approvalState = z.enum(approvalStates);

const requirement = z.object({
  policy: z.string(),
  group: z.string(),
  quorum: z.int(),
  expiresMs: z.int(),
  orGroups: z.array(z.string()).readonly().optional().describe("members of these may decide as well"),
  distinct: z.literal(true).optional().describe("one person counts for one requirement of the request only"),
  escalate: z.object({ afterMs: z.int(), to: z.array(z.string()).readonly() }).optional(),
  remindMs: z.int().optional(),
  amount: z.string().optional().describe("the argument that limits of delegations are held against"),
  signed: z.literal("passkey").optional().describe("only what was signed with a passkey counts"),
  needs: z.string().describe("the same in words: `1 of legal or compliance, signed with a passkey`"),
});

const routing = z.object({
  requirements: z.array(
    z.object({
      policy: z.string(),
      quorum: z.int(),
      approvals: z.int().describe("how many different people have approved it so far"),
      groups: z.array(z.string()).describe("whose members may decide now"),
      later: z
        .object({ groups: z.array(z.string()), from: time })
        .nullable()
        .describe("who else, and from when on"),
    }),
  ),
  people: z
    .array(z.object({ id: principalId, groups: z.array(z.string()), insteadOf: principalId.nullable() }))
    .describe("who may decide now and has not; at most 50"),
  more: z.boolean(),
  barred: z.array(z.object({ person: z.string(), because: z.enum(barReasons) })),
});

export const approvalSummary = z
  .object({
    id: approvalId,
    run: runId,
    team: name,
    agent: name,
    seq: z.int(),
    name: z.string().describe("the tool or model that waits"),
    action: digest,
    state: approvalState,
    requirements: z.array(requirement),
    requestedBy: principalId.describe("who started the run"),
    openedAt: time,
    expiresAt: time,
    unanswered: z.boolean().describe("a reviewer asked something, and nobody has answered yet"),
    decidedBy: z.array(
      z.object({
        reviewer: principalId,
        decision: z.enum(["approve", "deny"]),
        at: time,
        fallen: z
          .boolean()
          .optional()
          .describe("its key was revoked while the request was open: it counts no more, and they may decide anew"),
      }),
    ),
  })
  .meta({ id: "ApprovalSummary" });
export type ApprovalSummary = z.output<typeof approvalSummary>;

export const listApprovalsQuery = z.strictObject({
  team: name.optional(),
  state: approvalState.optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const approvalPage = z.object({
  approvals: z.array(
    approvalSummary.extend({
      call: z
        .string()
        .nullable()
        .describe(
          "a tool's arguments, or a model's answer, in short, to tell requests apart; null where it is another call, or erased, and for who is no reviewer for its team",
        ),
    }),
  ),
  next: z.string().nullable(),
});

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

const salt = z.string().regex(/^[0-9a-f]{64}$/);

export const approvalDetail = approvalSummary
  .extend({
    rendered: z.string().describe("the action as text, made by the gate and not by the agent"),
    salt: salt
      .nullable()
      .describe("what digests of contents are made with, 32 bytes in hexadecimal; null: they are SHA-256"),
    statement: statementTemplate,
    routing,
    events: z
      .array(z.object({ kind: z.string(), facts: z.record(z.string(), json), at: time }))
      .describe("the newest 200"),
    notices: z.array(noticeView).describe("who was told of it, and how that went; the newest hundred, oldest first"),
    page: z.url().describe("where the request is read and decided on with a passkey"),
    context: approvalContext,
    messages: z.array(approvalMessage),
    call: json.nullable().describe("exactly what would be done, to hash and to edit; null: it cannot be edited"),
    tool: z
      .object({ parameters: jsonObject, render: z.record(z.string(), z.enum(renderHints)) })
      .nullable()
      .describe("the call's tool, as far as `rendered` goes by it"),
    made: json.nullable().describe("the arguments that policies make of the call's; null: it is made with its own"),
    editedBy: principalId.nullable().describe("who ended this request by changing the call"),
    successor: approvalId.nullable().describe("the request that the changed call needed"),
    editOf: approvalId.nullable().describe("the request whose changed call this is about"),
    editors: z
      .array(principalId)
      .describe("whose changes are in the call: they cannot approve it unless its policy says so"),
  })
  .meta({ id: "ApprovalDetail" });
export type ApprovalDetail = z.output<typeof approvalDetail>;

const signed = {
  statement: z.string().min(2).max(20_000).describe("the RFC 8785 text of the statement"),
  keyId: z.string().min(1).max(200).describe("SHA-256 of the public key's SPKI bytes"),
};
const bytes = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[A-Za-z0-9_-]+$/, "expected base64url");
export const signedWithKey = z.strictObject({
  ...signed,
  kind: z.literal("ed25519").optional(),
  signature: z
    .string()
    .max(200)
    .describe("Ed25519 over `countersign/approval/v1`, a newline and the statement's bytes, base64"),
});
/** The challenge is SHA-256 of what an Ed25519 key would sign. Exact bytes, base64url. */
export const signedWithPasskey = z.strictObject({
  ...signed,
  kind: z.literal("webauthn"),
  signature: bytes(2_000),
  credentialId: bytes(2_000),
  authenticatorData: bytes(4_000),
  clientDataJSON: bytes(4_000),
  userHandle: bytes(200).optional(),
});
export const decideBody = z.union([signedWithKey, signedWithPasskey]);

/** An edit is signed with a key file. */
export const editBody = signedWithKey.extend({ arguments: jsonObject.describe("all of the new arguments") });
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
