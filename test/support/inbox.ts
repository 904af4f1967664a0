import { generateKeyPairSync, randomBytes } from "node:crypto";
import { ulid } from "ulid";
import {
  addReviewerKey,
  barredFrom,
  checkGrant,
  decideRequest,
  openRequest,
  publicKeyOf,
  requestById,
  signStatement,
  statementFacts,
  statementText,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest, GrantCheck, SignedStatement } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import { activatePolicySet, putPrincipal, registerRelease, releaseOfDocument } from "../../src/registry/index.ts";
import { createRun, digestOf, inTransaction, payloadKeysOf, putPayloads } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { freshDatabase } from "./database.ts";

const keys = payloadKeysOf(Buffer.alloc(32, 1));
export const hour = 3_600_000;

export type Signer = { readonly privateKey: string; readonly keyId: Digest };
export type Inbox = Awaited<ReturnType<typeof createInbox>>;

/** A database with people who sign, and requests on runs of their own: a release by `annie`, and runs that `olga` asks for. */
export async function createInbox() {
  const database = await freshDatabase({ max: 10 });
  const { pool } = database;
  const opened = new Date("2026-01-02T03:04:05.000Z");
  const at = (ms: number): Date => new Date(opened.getTime() + ms);
  const made = releaseOfDocument({
    v: 1,
    team: "shop",
    agent: "support",
    useCase: "u",
    riskTier: "limited",
    model: { name: "m", maxOutputTokens: 1 },
    prompt: "p",
    tools: [],
    limits: { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 },
  });
  const policySet = await inTransaction(pool, async (tx) => {
    await registerRelease(tx, made, "annie", opened);
    return (await activatePolicySet(tx, "shop", { v: 1, policies: [] }, "annie", opened)).digest;
  });
  const signers = new Map<string, Signer>();

  async function enrol(id: string, groups: readonly string[], person?: string): Promise<void> {
    await regroup(id, groups, person);
    const privateKey = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    const key = { principal: id, publicKey: publicKeyOf(privateKey), addedBy: "admin", now: at(-hour) };
    const { keyId } = await addReviewerKey(pool, key);
    signers.set(id, { privateKey, keyId });
  }

  const regroup = (id: string, groups: readonly string[], person?: string): Promise<void> =>
    putPrincipal(pool, {
      id,
      displayName: id,
      roles: ["reviewer"],
      groups,
      ...(person === undefined ? {} : { person }),
    });

  type Asked = {
    readonly requirements: readonly ApprovalRequirement[];
    readonly subject?: readonly string[];
    readonly amount?: number;
    readonly expiresMs?: number;
    readonly team?: string;
    readonly name?: string;
  };

  const open = (asked: Asked): Promise<ApprovalRequest> => inTransaction(pool, (tx) => openIn(tx, asked));

  async function openIn(tx: Tx, asked: Asked): Promise<ApprovalRequest> {
    const { requirements, subject = [], amount, expiresMs = hour, team = "shop", name = "refund" } = asked;
    const run = `run_${ulid(opened.getTime())}` as RunId;
    const contents = await putPayloads(tx, keys, [{ prompt: run }, `tool \`${name}\` of ${run}`]);
    const [input, rendered] = contents as [Digest, Digest];
    const limits = { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 };
    const release = made.digest;
    await createRun(tx, { id: run, team, agent: "support", release, input, requestedBy: "olga", limits, now: opened });
    const id = await openRequest(tx, {
      run,
      seq: 0,
      team,
      action: digestOf({ run }),
      name,
      rendered,
      requirements,
      policySet,
      openedAt: opened,
      expiresAt: at(expiresMs),
      barred: await barredFrom(tx, run, subject),
      amount: amount ?? null,
    });
    return (await requestById(tx, id)) as ApprovalRequest;
  }

  /** `signer`: another key of theirs than the one that they were enrolled with. */
  function sign(
    request: ApprovalRequest,
    reviewer: string,
    decision: "approve" | "deny" = "approve",
    signer: Signer = signers.get(reviewer) as Signer,
  ): SignedStatement {
    const { privateKey, keyId } = signer;
    const statement = statementText({
      ...statementFacts(request),
      decision,
      reviewer,
      reason: "",
      nonce: randomBytes(18).toString("base64url"),
      issuedAt: at(1).toISOString(),
    });
    return { statement, signature: signStatement(statement, privateKey), keyId };
  }

  return {
    pool,
    database,
    opened,
    at,
    enrol,
    regroup,
    open,
    openIn,
    sign,
    keyOf: (id: string) => signers.get(id)?.keyId as Digest,
    signerOf: (id: string) => signers.get(id) as Signer,

    decide: (request: ApprovalRequest, reviewer: string, afterMs = 2, decision: "approve" | "deny" = "approve") =>
      inTransaction(pool, (tx) => decideRequest(tx, sign(request, reviewer, decision), reviewer, at(afterMs))),

    /** What a writer of the database can do beside the code: a decision's row, truly signed. */
    async write(
      request: ApprovalRequest,
      reviewer: string,
      row: {
        readonly afterMs?: number;
        readonly person?: string;
        readonly groups?: readonly string[];
        readonly delegation?: string;
        readonly forPerson?: string;
      } = {},
    ): Promise<void> {
      const { statement, keyId, signature } = sign(request, reviewer);
      await pool.query(
        `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at, person, groups, delegation, for_person)
         values ($1, $2, 'approve', $3, $4, $5, $6, $7, $8, $9, $10)`,
        [
          request.id,
          reviewer,
          statement,
          keyId,
          signature,
          at(row.afterMs ?? 2),
          row.person ?? null,
          row.groups ?? null,
          row.delegation ?? null,
          row.forPerson ?? null,
        ],
      );
    },

    /** The state that a writer of the database can set. */
    approve: (request: ApprovalRequest) =>
      pool.query(
        "update approval_request set state = 'approved', decided_at = now() where id = $1 and state = 'pending'",
        [request.id],
      ),

    check(request: ApprovalRequest, subject: readonly string[] = [], afterMs = 3): Promise<GrantCheck> {
      const { id, action: actionDigest, run, seq } = request;
      return inTransaction(pool, (tx) =>
        checkGrant(tx, { request: id, actionDigest, run, seq, now: at(afterMs), subject }),
      );
    },
  };
}
