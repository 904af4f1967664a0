import { describe, expect, test } from "vitest";

import { errorCodes } from "../../src/api/index.ts";
import type { ErrorCode } from "../../src/api/index.ts";
import { keyIdOf, openRequest, publicKeyOf, signStatement, statementText } from "../../src/approvals/index.ts";
import type { ApprovalStatement } from "../../src/approvals/index.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";
import { digestOf, putPayloads } from "../../src/store/index.ts";
import { reviewerKey, serveForFile } from "../support/served-api.ts";
import { testKeys } from "../support/test-server.ts";
import type { tokens } from "../support/served-api.ts";

const { anotherServer, call, database, engine, register, start } = serveForFile();

describe("approvals", () => {
  async function pending(): Promise<{ readonly run: RunId; readonly approval: ApprovalId }> {
    await register({ agent: "asking" });
    const { id: run } = ((await start({ agent: "asking" })).body as { run: { id: RunId } }).run;
    const [rendered] = await putPayloads(database().pool, testKeys, ["tool `act`\n"]);
    const policies = (await call("GET", "/v1/policies/shop", { as: "reviewer" })).body as { policySet: Digest };
    const now = new Date();
    const approval = await openRequest(database().pool, {
      run,
      seq: 0,
      team: "shop",
      action: "a".repeat(64) as Digest,
      name: "act",
      rendered: rendered as Digest,
      requirements: [{ policy: "base/act", group: "reviewers", quorum: 1, expiresMs: 60_000 }],
      policySet: policies.policySet,
      openedAt: now,
      expiresAt: new Date(now.getTime() + 60_000),
    });
    return { run, approval };
  }

  async function statementFor(approval: ApprovalId, changes: Partial<ApprovalStatement> = {}): Promise<string> {
    const { statement } = (await call("GET", `/v1/approvals/${approval}`, { as: "reviewer" })).body as {
      statement: ApprovalStatement;
    };
    const own = {
      decision: "approve",
      reviewer: "reviewer",
      reason: "fine",
      issuedAt: new Date().toISOString(),
    } as const;
    return statementText({ ...statement, ...own, ...changes });
  }

  const decide = (approval: ApprovalId, statement: string, as: keyof typeof tokens = "reviewer") =>
    call("POST", `/v1/approvals/${approval}/decisions`, {
      as,
      body: {
        statement,
        signature: signStatement(statement, reviewerKey),
        keyId: keyIdOf(publicKeyOf(reviewerKey)),
      },
    });

  test("a signed statement decides, is in the ledger, and wakes the run", async () => {
    const { approval, run } = await pending();
    const shown = await call("GET", `/v1/approvals/${approval}`, { as: "reviewer" });
    expect(shown.body).toMatchObject({
      state: "pending",
      rendered: "tool `act`\n",
      statement: { rendered: digestOf("tool `act`\n") },
    });
    const answer = await decide(approval, await statementFor(approval));
    expect(answer).toMatchObject({
      status: 201,
      body: { woken: true, recorded: true, approval: { state: "approved" } },
    });
    expect(engine.woken).toContain(approval);
    const { body } = await call("GET", `/v1/runs/${run}/record`, { as: "auditor" });
    const record = body as {
      approvals: { decisions: unknown[] }[];
      ledger: { checkpoint: string; entries: { leaf: string; proof?: string[] }[] };
    };
    expect(record.approvals[0]?.decisions).toHaveLength(1);
    expect(record.ledger.checkpoint).toContain("localhost/ledger/shop");
    expect(
      record.ledger.entries.map((entry) => [
        (JSON.parse(entry.leaf) as { kind: string }).kind,
        entry.proof !== undefined,
      ]),
    ).toEqual([["approval.approved", true]]);
  });

  test("a decision stands although the run cannot be told, and a server that runs tells it later", async () => {
    const { approval } = await pending();
    const statement = await statementFor(approval, { decision: "deny" });
    engine.up = false;
    const answer = await decide(approval, statement);
    engine.up = true;
    expect(answer).toMatchObject({ status: 201, body: { woken: false, approval: { state: "denied" } } });
    const listening = anotherServer();
    await listening.start(0);
    await expect.poll(() => engine.woken.includes(approval), { timeout: 10_000 }).toBe(true);
    await listening.stop();
    const { rows } = await database().pool.query(
      "select from approval_request where id = $1 and signalled_at is null",
      [approval],
    );
    expect(rows).toHaveLength(0);
  });

  test.each<[string, Partial<ApprovalStatement>, ErrorCode]>([
    ["another reviewer's name", { reviewer: "admin" }, "statement_invalid"],
    ["another action", { action: "b".repeat(64) as Digest }, "statement_invalid"],
    ["another text than the recorded one", { rendered: "c".repeat(64) as Digest }, "statement_invalid"],
  ])("a statement with %s is refused", async (_what, changes, code) => {
    const { approval } = await pending();
    expect(await decide(approval, await statementFor(approval, changes))).toMatchObject({
      status: errorCodes[code].status,
      code,
    });
  });

  test("an admin without the group, or with somebody else's key, decides nothing", async () => {
    const { approval } = await pending();
    const statement = await statementFor(approval, { reviewer: "admin" });
    expect(await decide(approval, statement, "admin")).toMatchObject({ status: 422, code: "key_unknown" });
    const forged = await call("POST", `/v1/approvals/${approval}/decisions`, {
      as: "reviewer",
      body: {
        statement: await statementFor(approval),
        signature: Buffer.alloc(64).toString("base64"),
        keyId: keyIdOf(publicKeyOf(reviewerKey)),
      },
    });
    expect(forged).toMatchObject({ status: 422, code: "signature_invalid" });
  });
});
