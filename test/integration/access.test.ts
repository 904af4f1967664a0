import { readFile } from "node:fs/promises";

import { expect, onTestFinished, test } from "vitest";

import { notifyOptionsOf } from "../../src/notify/index.ts";
import { freeze, hashToken, liftFreeze, newToken, putPrincipal } from "../../src/registry/index.ts";
import { loopback, serverOn } from "../support/notice-world.ts";
import { createWorld, until } from "../support/world.ts";

const args = { to: "ada", amount_cents: 6_000, slow_ms: 5_000 };

test("AuthZEN tells what the gate decided: a denial stays one until the gate itself lets the call through, and no submission opens a way", async () => {
  const world = await createWorld({
    turns: [
      { calls: [{ tool: "pay", arguments: args }] },
      { calls: [{ tool: "pay", arguments: { to: "bob", amount_cents: 7_000 } }] },
      { text: "done" },
    ],
  });
  const token = newToken();
  await putPrincipal(
    world.pool,
    { id: "gateway", displayName: "gateway", roles: ["auditor"], groups: [] },
    hashToken(token),
  );
  let ahead = 0;
  const now = () => new Date(Date.now() + ahead);
  const server = serverOn(world.pool, world.databaseUrl, notifyOptionsOf(loopback), now);
  onTestFinished(() => server.stop());
  const http = await server.http();
  const call = async (method: "GET" | "POST", url: string, payload?: object, more: Record<string, string> = {}) => {
    const headers = { authorization: `Bearer ${token}`, ...more };
    const got = await http.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
    return { status: got.statusCode, type: got.headers["content-type"], body: got.json() as never };
  };
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  const question = (changes: object = {}) => ({
    subject: { type: "agent", id: "testers/tester" },
    resource: { type: "run", id: run },
    action: { name: "tool/pay", properties: { arguments: { ...args, ...changes } } },
  });
  const evaluate = async (approval?: string, changes: object = {}) =>
    (
      await call("POST", "/access/v1/evaluation", {
        ...question(changes),
        ...(approval === undefined ? {} : { context: { approval: { id: approval } } }),
      })
    ).body as {
      decision: boolean;
      context: { reason: string; evaluation_id: string; evaluated_at: string; access_request?: object };
    };
  const expires_at = request.expiresAt.toISOString();
  const submit = (denial: object, changes: object = {}, rest: object = {}, headers: Record<string, string> = {}) =>
    call("POST", "/access/v1/requests", { ...question(changes), denial: { expires_at, ...denial }, ...rest }, headers);
  const problem = (status: number, name: string) => ({
    status,
    body: { type: `urn:openid:authzen:access-request:error:${name}` },
  });

  const denied = await evaluate();
  expect(denied).toMatchObject({
    decision: false,
    context: {
      reason: "approval_required",
      access_request: {
        endpoint: "https://ask.example.com/access/v1/requests",
        expires_at: request.expiresAt.toISOString(),
      },
    },
  });
  const { evaluation_id } = denied.context;

  // What nobody asked for, and what is another's, is not requestable.
  const nowhere = await evaluate(undefined, { amount_cents: 6_001 });
  expect(nowhere.decision).toBe(false);
  expect(nowhere.context).not.toHaveProperty("access_request");
  for (const refused of [
    await submit({ evaluation_id }, { amount_cents: 1 }),
    await submit({ evaluation_id }, {}, { subject: { type: "agent", id: "testers/other" } }),
    await submit(
      { evaluation_id },
      {},
      { subject: { type: "agent", id: "testers/tester", properties: { act: "eve" } } },
    ),
    await submit({ evaluation_id }, {}, { resource: { type: "run", id: `run_${"0".repeat(26)}` } }),
    await submit({ evaluation_id: `${run}.1.1` }),
    await submit({ evaluation_id: `${run}.1.0;` }),
    await submit({ binding_token: "e30.e30.e30" }),
  ]) {
    expect(refused).toMatchObject({
      status: 400,
      type: "application/problem+json",
      body: { type: "urn:openid:authzen:access-request:error:invalid_denial_binding" },
    });
  }
  expect(await call("GET", `/access/v1/requests/apr_${"0".repeat(26)}`)).toMatchObject({
    status: 404,
    body: { type: "urn:openid:authzen:access-request:error:unknown_task" },
  });

  const task = await submit({ evaluation_id });
  expect(task).toMatchObject({ status: 202, body: { task: { id: request.id, status: "pending" } } });
  expect(task.body).not.toHaveProperty("result");
  // What the profile requires of a denial, and of a key that comes again.
  expect((await submit({ evaluation_id, expires_at: undefined })).status).toBe(400);
  const key = { "idempotency-key": "7b8d0f0d-65a1-4af1-9fd3-a684f08a5d13" };
  for (const again of [1, 2])
    expect([again, await submit({ evaluation_id }, {}, {}, key)]).toMatchObject([
      again,
      { status: 202, body: task.body },
    ]);
  expect(await submit({ evaluation_id }, {}, { context: { why: "else" } }, key)).toMatchObject(
    problem(409, "duplicate_request"),
  );
  // The evaluation is the gate's: whatever is answered on it has its id, and its time.
  const { rows: decided } = await world.pool.query<{ at: Date }>("select at from decision where run = $1 and seq = 1", [
    run,
  ]);
  expect((await evaluate()).context).toMatchObject({ evaluation_id, evaluated_at: decided[0]?.at.toISOString() });
  const { rowCount } = await world.pool.query("select from approval_request");
  expect(rowCount).toBe(1);

  await (await world.reviewer("rita")).decide(request, "approve");
  const approved = await call("GET", `/access/v1/requests/${request.id}`);
  expect(approved.body).toMatchObject({
    task: { status: "approved" },
    result: { mode: "reevaluate", approval: { id: request.id, approved_until: request.expiresAt.toISOString() } },
  });
  // Approved by people, and still no: only the gate uses an approval.
  expect(await evaluate(request.id)).toMatchObject({
    decision: false,
    context: { reason: "grant_pending", next_action: "retry" },
  });
  expect(await readFile(world.effects, "utf8").catch(() => "")).toBe("");

  await world.wake(run, request);
  const allowed = await until(async () => {
    const found = await evaluate(request.id);
    return found.decision ? found : undefined;
  });
  expect(allowed.context).toMatchObject({ reason: "allowed", approval: { id: request.id } });
  // Let through, and frozen since: not while it lasts.
  const target = { tool: request.name, reason: "incident", by: "operator", now: new Date() };
  await freeze(world.pool, target);
  expect(await evaluate(request.id)).toMatchObject({ decision: false, context: { reason: "frozen" } });
  await liftFreeze(world.pool, target);
  expect(await evaluate(`apr_${"0".repeat(26)}`)).toMatchObject({
    decision: false,
    context: { reason: "approval_unverifiable", next_action: "none" },
  });
  expect((await evaluate(undefined, { to: "eve" })).decision).toBe(false);

  // Used: the approval is good for this call's end and for nothing after it, and not for the next call of the run.
  const next = await world.request(run);
  expect(await evaluate(request.id)).toMatchObject({ decision: false, context: { reason: "already_made" } });
  expect((await call("GET", `/access/v1/requests/${request.id}`)).body).toMatchObject({ task: { status: "approved" } });
  const second = { to: "bob", amount_cents: 7_000, slow_ms: undefined };
  expect(await evaluate(request.id, second)).toMatchObject({
    decision: false,
    context: { reason: "approval_unverifiable" },
  });
  expect(await evaluate(next.id, second)).toMatchObject({ decision: false, context: { reason: "approval_required" } });
  await (await world.reviewer("rolf")).decide(next, "deny");
  await world.wake(run, next);
  await world.closed(run);
  expect(await evaluate(next.id, second)).toMatchObject({ decision: false, context: { reason: "policy_denied" } });
  // The decision that let the first call through asked nobody.
  expect(await submit({ evaluation_id: `${run}.1.1` })).toMatchObject(problem(400, "not_requestable"));
  // Past its time, whatever became of it, a task is none, and nothing is submitted to it.
  ahead = 7_200_000;
  expect(await call("GET", `/access/v1/requests/${request.id}`)).toMatchObject(problem(410, "task_expired"));
  expect(await submit({ evaluation_id })).toMatchObject(problem(410, "expired_denial"));
  const paid = (await readFile(world.effects, "utf8")).split("\n").filter((line) => line.startsWith("pay "));
  expect(paid).toHaveLength(1);
});
