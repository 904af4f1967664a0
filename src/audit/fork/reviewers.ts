import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";

import {
  addReviewerKey,
  challengeOf,
  decideRequest,
  publicKeyOf,
  signStatement,
  statementFacts,
  statementText,
} from "../../approvals/index.ts";
import type { ApprovalRequest, Passkey, SignedStatement } from "../../approvals/index.ts";
import { isBudgetPolicy } from "../../core/budget.ts";
import { askedOf } from "../../core/decision.ts";
import type { ApprovalRequirement } from "../../core/decision.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { putPrincipal } from "../../registry/index.ts";
import { decisionsOf, inTransaction, stepsOf } from "../../store/index.ts";
import type { Pool, Tx } from "../../store/index.ts";
import { wasUsed } from "../approvals/approvals.ts";
import { lastDecision } from "./history.ts";
import type { ForkPlan } from "./plan.ts";
import { forkedBy } from "./seed.ts";

export const approvalAnswers = ["approve", "deny", "recorded"] as const;
/** What is said in the place of people. `recorded`: what they said then about the same call, and no to any other. */
export type ApprovalAnswers = (typeof approvalAnswers)[number];

/** A step that would wait for people. Nobody was asked. */
export type WouldWait = {
  readonly seq: number;
  readonly name: string;
  /** Groups and quorums, as the ledger has them: `treasury:2`. */
  readonly groups: readonly string[];
  readonly answer: "approve" | "deny";
  readonly because: string;
};

type Said = Pick<WouldWait, "answer" | "because">;

/**
 * Answers a request of a fork, in its own database, by as many people as it asks for. They exist there only, and their keys nowhere
 * else: the gate verifies signatures, groups and quorum as it always does.
 */
export async function answerInFork(
  pool: Pool,
  plan: ForkPlan,
  request: ApprovalRequest,
  mode: ApprovalAnswers,
  now: Date,
): Promise<WouldWait> {
  const said = whatIsSaid(plan, request, mode, await askedIn(pool, request));
  const wanted = request.requirements.flatMap((requirement) =>
    Array.from({ length: said.answer === "deny" ? 1 : requirement.quorum }, () => requirement),
  );
  await inTransaction(pool, async (tx) => {
    let state: string = request.state;
    for (const requirement of wanted) {
      if (state !== "pending") break;
      const signer = await enrol(tx, requirement, now);
      const signed = signer.sign(statementOf(request, said, signer.reviewer, now));
      ({ state } = await decideRequest(tx, signed, signer.reviewer, now));
    }
  });
  const groups = request.requirements.map(askedOf);
  return { seq: request.seq, name: request.name, groups, ...said };
}

function whatIsSaid(
  { record }: ForkPlan,
  { requirements }: ApprovalRequest,
  mode: ApprovalAnswers,
  asked: string | undefined,
): Said {
  // What a fork may cost was said when it was begun.
  if (requirements.some(({ policy }) => isBudgetPolicy(policy)))
    return { answer: "deny", because: "a fork has no more than the run's own limits and --max-cost give it" };
  if (mode !== "recorded") return { answer: mode, because: `--approvals ${mode}` };
  const then = asked === undefined ? undefined : (saidThen(record, asked) ?? saidAhead(record, asked));
  return then ?? { answer: "deny", because: "nobody decided on such a call in the record" };
}

/** What people said about the same, the last time that they were asked. */
function saidThen(record: RunRecord, asked: string): Said | undefined {
  const request = record.approvals.findLast(({ id }) => askedBy(record, id) === asked);
  if (request === undefined) return undefined;
  const { seq, state } = request;
  // A call that a reviewer changed was not approved as it was asked.
  const changed = (lastDecision(record, seq)?.edit ?? null) !== null;
  const approved = !changed && (wasUsed(state) || state === "approved");
  return {
    answer: approved ? "approve" : "deny",
    because: `step ${seq} of the record: ${changed ? "changed" : state}`,
  };
}

/** People had approved such calls in advance. */
function saidAhead({ steps, decisions }: RunRecord, asked: string): Said | undefined {
  const standing = decisions.findLast(({ seq, standingGrant = null }) => {
    const step = steps.find((one) => one.seq === seq);
    return standingGrant !== null && step !== undefined && callOf(step) === asked;
  });
  if (standing === undefined) return undefined;
  return { answer: "approve", because: `step ${standing.seq} of the record: a standing grant` };
}

function callOf({ kind, name, arguments: args }: Asking["steps"][number]): string {
  return `${kind}/${name}/${args}`;
}

async function askedIn(pool: Pool, { id, run }: ApprovalRequest): Promise<string | undefined> {
  const [steps, decisions] = await Promise.all([stepsOf(pool, run), decisionsOf(pool, run)]);
  return askedBy({ steps, decisions }, id);
}

type Asking = {
  readonly steps: readonly Pick<StepRecord, "seq" | "kind" | "name" | "arguments">[];
  readonly decisions: readonly Pick<DecisionRecord, "seq" | "outcome" | "approval" | "edit" | "facts">[];
};

/** What a request asks about, whatever run it is of: an answer of the model, or a call. Undefined for a call that a reviewer changed. */
function askedBy({ steps, decisions }: Asking, request: ApprovalId): string | undefined {
  const decision = decisions.find(({ outcome, approval }) => outcome === "require_approval" && approval === request);
  const step = steps.find(({ seq }) => seq === decision?.seq);
  if (decision === undefined || step === undefined || (decision.edit ?? null) !== null) return undefined;
  const { response } = decision.facts;
  return response === undefined ? callOf(step) : `answer/${response.answer}`;
}

type Signer = { readonly reviewer: string; readonly sign: (statement: string) => SignedStatement };

/** Somebody of the group, with a key of the kind that is asked for. */
async function enrol(tx: Tx, { group, signed }: ApprovalRequirement, now: Date): Promise<Signer> {
  const reviewer = `${forkedBy}.${randomBytes(8).toString("hex")}`;
  const signer = signed === "passkey" ? passkey() : keyFile();
  await putPrincipal(tx, { id: reviewer, displayName: "nobody", roles: ["reviewer"], groups: [group] });
  const key = { ...signer.key, principal: reviewer, addedBy: forkedBy, now };
  const { keyId } = await addReviewerKey(tx, key);
  return { reviewer, sign: (statement) => signer.sign(statement, keyId) };
}

function keyFile() {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return {
    key: { publicKey: publicKeyOf(privateKey) },
    sign: (statement: string, keyId: string): SignedStatement => {
      return { statement, signature: signStatement(statement, privateKey), keyId };
    },
  };
}

const origin = "http://localhost";
const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest();

/** Signs as an authenticator does (WebAuthn level 3, 6.3.3): authenticator data with user present and verified, ES256. */
function passkey() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rpId = new URL(origin).hostname;
  const enrolled: Passkey = {
    credentialId: randomBytes(16).toString("base64url"),
    cose: "",
    rpId,
    origin,
    aaguid: "00000000-0000-0000-0000-000000000000",
    challenge: "",
    attestationObject: "",
    clientDataJSON: "",
    transports: [],
  };
  return {
    key: { publicKey: publicKey.export({ type: "spki", format: "der" }).toString("base64"), passkey: enrolled },
    sign: (statement: string, keyId: string): SignedStatement => {
      const data = Buffer.concat([sha256(rpId), Buffer.of(5), Buffer.alloc(4)]);
      const challenge = challengeOf(statement);
      const clientData = Buffer.from(JSON.stringify({ type: "webauthn.get", challenge, origin, crossOrigin: false }));
      return {
        kind: "webauthn",
        statement,
        keyId,
        credentialId: enrolled.credentialId,
        authenticatorData: data.toString("base64url"),
        clientDataJSON: clientData.toString("base64url"),
        signature: sign("sha256", Buffer.concat([data, sha256(clientData)]), privateKey).toString("base64url"),
      };
    },
  };
}

function statementOf(request: ApprovalRequest, { answer, because }: Said, reviewer: string, now: Date): string {
  return statementText({
    ...statementFacts(request),
    decision: answer,
    reviewer,
    reason: answer === "deny" ? `in a fork: ${because}` : "",
    nonce: randomBytes(18).toString("base64url"),
    issuedAt: now.toISOString(),
  });
}
