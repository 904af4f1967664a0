import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient } from "../../src/api/index.ts";
import type { ApiClient } from "../../src/api/index.ts";
import { addReviewerKey, publicKeyOf } from "../../src/approvals/index.ts";
import { readAgentFile } from "../../src/cli/agent-file.ts";
import { exampleAgent, startExampleRun } from "../../src/cli/example.ts";
import { signDecision, signStatementOf } from "../../src/cli/sign-decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { loadPolicyDirectory } from "../../src/policy/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { keyAdded } from "../../src/server/index.ts";
import { createPool } from "../../src/store/index.ts";
import { contentDigest } from "../../src/store/canonical.ts";
import type { RunningStack } from "../e2e/running-stack.ts";

/** How the runs of genuine evidence come about, each in a way of its own, on a real stack. */

/** Reasons and questions are in many scripts: bytes, not characters, are what is signed. */
export const reason = "ja ✓ 承認 — \u{1F44D}\u202Eevil";

/** Somebody who signs, with a client of their own. */
export type Signer = { readonly principal: string; readonly client: ApiClient; readonly privateKey: string };

export function firstReviewer(stack: RunningStack): Omit<Signer, "principal"> {
  return { client: stack.reviewer, privateKey: readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8") };
}

/** A reviewer more, whose key the owner of the database enrols. */
export async function addReviewer(
  { databaseUrl, url }: RunningStack,
  principal: string,
  groups: readonly string[],
): Promise<Signer> {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const token = newToken();
  const pool = createPool({ url: databaseUrl });
  try {
    const person = { id: principal, displayName: principal, roles: ["reviewer"], groups } as const;
    await putPrincipal(pool, person, hashToken(token));
    const publicKey = publicKeyOf(privateKey);
    const { key } = await addReviewerKey(pool, { principal, publicKey, addedBy: "owner", now: new Date() });
    await appendToOutbox(pool, [keyAdded(key)]);
  } finally {
    await pool.end();
  }
  return { principal, client: createClient({ baseUrl: url, token }), privateKey };
}

type Look = Awaited<ReturnType<ApiClient["showRun"]>>;

/** Looks at a run until it is closed, and does something each time. */
async function untilClosed(
  { operator }: RunningStack,
  run: RunId,
  work: (view: Look) => Promise<unknown>,
): Promise<RunId> {
  for (;;) {
    const view = await operator.showRun({ params: { run } });
    if (view.run.closedAt !== null) return run;
    await work(view);
    await sleep(100);
  }
}

const pendingOf = ({ approvals }: Look) => approvals.filter(({ state }) => state === "pending").map(({ id }) => id);

export async function decided(
  stack: RunningStack,
  prompt: string,
  decision: "approve" | "deny",
  by: Pick<Signer, "client" | "privateKey"> = firstReviewer(stack),
): Promise<RunId> {
  return answered(stack, await startExampleRun(stack.operator, prompt), decision, by);
}

function answered(
  stack: RunningStack,
  run: RunId,
  decision: "approve" | "deny",
  { client, privateKey }: Pick<Signer, "client" | "privateKey"> = firstReviewer(stack),
): Promise<RunId> {
  return untilClosed(stack, run, async (view) => {
    for (const approval of pendingOf(view)) {
      const detail = await client.showApproval({ params: { approval } });
      await signDecision(client, detail, decision, reason, privateKey);
    }
  });
}

/** Asked about, and changed to what needs nobody. */
export async function changed(stack: RunningStack, prompt: string): Promise<RunId> {
  const { client, privateKey } = firstReviewer(stack);
  return untilClosed(stack, await startExampleRun(stack.operator, prompt), async (view) => {
    for (const approval of pendingOf(view)) {
      await client.askApproval({ params: { approval }, body: { text: reason } });
      const { call, rendered, salt, statement } = await client.showApproval({ params: { approval } });
      const action = call as { readonly arguments: JsonObject };
      const args = { ...action.arguments, amount_cents: 1_000 };
      const digestOf = (value: Json) => contentDigest(salt ?? undefined, value);
      const template = {
        ...statement,
        type: "countersign/edit/v1",
        rendered: digestOf(rendered),
        edited: digestOf({ ...action, arguments: args }),
        arguments: digestOf(args),
      };
      const { body } = await signStatementOf(client, template, { reason }, privateKey);
      await client.editApproval({ params: { approval }, body: { ...body, arguments: args } });
    }
  });
}

export async function cancelled(stack: RunningStack, prompt: string): Promise<RunId> {
  const run = await startExampleRun(stack.operator, prompt);
  await stack.operator.cancelRun({ params: { run } });
  return untilClosed(stack, run, () => Promise.resolve());
}

/** A run whose refund two people have granted before it was asked for. */
export async function grantedAhead(stack: RunningStack, second: Signer, prompt: string): Promise<RunId> {
  const { client, privateKey } = firstReviewer(stack);
  const { terms, statement } = await client.draftStanding({
    body: {
      ...exampleAgent,
      tool: "refund",
      policies: ["refund/needs-a-person"],
      targets: [{ argument: "order_id", like: "A-*" }],
      unconstrained: ["reason"],
      uses: 3,
      sum: { argument: "amount_cents", max: 20_000 },
      until: new Date(Date.now() + 86_400_000).toISOString(),
      reason,
    },
  });
  const own = await signStatementOf(client, statement, {}, privateKey);
  const { grant } = await client.proposeStanding({ body: { ...own.body, terms: terms as never } });
  const params = { grant: grant.id };
  const { statement: template } = await second.client.showStanding({ params });
  const { body } = await signStatementOf(second.client, template, {}, second.privateKey);
  await second.client.approveStanding({ params, body });
  const run = await decided(stack, prompt, "deny");
  await client.revokeStanding({ params });
  return run;
}

/** A refund that somebody of no group decided, for the reviewer who had delegated it to them. */
export async function byDelegate(stack: RunningStack, delegate: Signer, prompt: string): Promise<RunId> {
  const { delegation } = await stack.reviewer.delegate({
    body: {
      delegate: delegate.principal,
      team: exampleAgent.team,
      until: new Date(Date.now() + 86_400_000).toISOString(),
      reason,
    },
  });
  const run = await decided(stack, prompt, "approve", delegate);
  await stack.reviewer.undelegate({ params: { delegation: delegation.id } });
  return run;
}

/** A refund that was held up by a freeze before anybody was asked about it. */
export async function thawed(stack: RunningStack, prompt: string): Promise<RunId> {
  const body = { tool: "refund", reason } as const;
  await stack.operator.freeze({ body });
  const run = await startExampleRun(stack.operator, prompt);
  for (;;) {
    const { state, approvals } = await stack.operator.showRun({ params: { run } });
    if (approvals.length > 0) throw new Error("somebody was asked in spite of the freeze");
    if (state?.phase === "waiting") break;
    await sleep(100);
  }
  await stack.operator.liftFreeze({ body });
  return answered(stack, run, "approve");
}

/** A run for somebody whose data was erased when it had ended. */
export async function erasedSince({ operator, ...stack }: RunningStack, prompt: string): Promise<RunId> {
  const subject = { id: "cus_bob", email: "bob@example.com" };
  const { run } = await operator.startRun({ body: { ...exampleAgent, prompt, subject, tags: {} }, headers: {} });
  await answered({ operator, ...stack }, run.id, "approve");
  for (;;) {
    try {
      await operator.erase({ body: { subject: subject.id, reason: "request 2026-117" } });
      return run.id;
    } catch (error) {
      // Until its history is archived it is not over.
      if (codeOf(error) !== "run_open") throw error;
      await sleep(200);
    }
  }
}

/** A second team's agents, of whose runs some go beyond their limit, some go on over several executions, and some fail. */
export async function registerOffice({ operator }: RunningStack): Promise<void> {
  const document = await readAgentFile("test/fixtures/office/agent.yaml", [process.cwd()]);
  await operator.registerAgent({ body: { document } });
  // Its first call is estimated to cost more than its runs may.
  const tight = { ...document, agent: "tight", limits: { ...document.limits, maxCostMicroUsd: 500 } };
  await operator.registerAgent({ body: { document: tight } });
  const { document: policies } = await loadPolicyDirectory("examples/first-agent/policies");
  await operator.activatePolicies({
    params: { team: "office" },
    body: { document: { v: 1, policies: policies.policies.map((policy) => ({ ...policy })) } },
  });
}

/** What is asked of people on the way, such as going beyond the run's limit, they approve. */
export async function ofOffice(stack: RunningStack, prompt: string, agent = "rooms"): Promise<RunId> {
  const { run } = await stack.operator.startRun({ body: { team: "office", agent, prompt }, headers: {} });
  return answered(stack, run.id, "approve");
}
