import { generateKeyPairSync, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import {
  addReviewerKey,
  decideRequest,
  listRequests,
  publicKeyOf,
  signStatement,
  statementFacts,
  statementText,
} from "../src/approvals/index.ts";
import type { ApprovalRequest } from "../src/approvals/index.ts";
import type { ApprovalId, RunId } from "../src/core/ids.ts";
import { putPrincipal } from "../src/registry/index.ts";
import { inTransaction } from "../src/store/index.ts";
import type { Pool } from "../src/store/index.ts";

export type Reviewer = Awaited<ReturnType<typeof createReviewer>>;

/** A person of the benches: reads the inbox all the time, and signs a decision on every request as `approves` says. */
export async function createReviewer(
  pool: Pool,
  id: string,
  options: {
    readonly groups: readonly string[];
    approves(request: ApprovalRequest): boolean;
    tell(run: RunId, request: ApprovalId): Promise<void>;
  },
) {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  await putPrincipal(pool, { id, displayName: id, roles: ["reviewer"], groups: options.groups });
  const publicKey = publicKeyOf(privateKey);
  const { keyId } = await addReviewerKey(pool, { principal: id, publicKey, addedBy: "bench", now: new Date() });
  const asked = new Map<RunId, Set<number>>();
  let stopped = false;

  async function decide(request: ApprovalRequest): Promise<void> {
    asked.set(request.run, (asked.get(request.run) ?? new Set()).add(request.seq));
    const statement = statementText({
      ...statementFacts(request),
      decision: options.approves(request) ? "approve" : "deny",
      reviewer: id,
      reason: "",
      nonce: randomBytes(16).toString("base64url"),
      issuedAt: new Date().toISOString(),
    });
    const signed = { statement, signature: signStatement(statement, privateKey), keyId };
    await inTransaction(pool, (tx) => decideRequest(tx, signed, id, new Date()));
    await options.tell(request.run, request.id);
  }

  return {
    decide,
    /** Steps of a run about which the reviewer was asked. */
    askedIn: (run: RunId): ReadonlySet<number> => asked.get(run) ?? new Set(),
    /** Until `stop`: settles then, or with what went wrong. */
    async start(): Promise<void> {
      while (!stopped) {
        const waiting = await listRequests(pool, { state: "pending", limit: 100 });
        await Promise.all(waiting.map(decide));
        if (waiting.length === 0) await sleep(50);
      }
    },
    async stop(): Promise<void> {
      stopped = true;
    },
  };
}
