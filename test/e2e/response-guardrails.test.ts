import { readFile } from "node:fs/promises";

import { describe, expect, onTestFinished, test } from "vitest";

import { decideRequest, signStatement, statementText } from "../../src/approvals/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import { explainDecision, timelineOf } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { detectorOptionsOf } from "../../src/policy/index.ts";
import { approvalDecided } from "../../src/server/ledger-events.ts";
import { shortCalls } from "../../src/server/short-calls.ts";
import { putPrincipal } from "../../src/registry/index.ts";
import { decisionsOf, digestOf, getPayload, inTransaction, stepsOf } from "../../src/store/index.ts";
import { cancelRun, startAgentRun } from "../../src/temporal/index.ts";
import { startPresidio } from "../support/presidio.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";
import { auditOf, problemsOf } from "./running-stack.ts";
import type { Evidence } from "./running-stack.ts";
import { evidenceIn } from "../support/world-evidence.ts";

/** The pack's own rules for answers; all else is permitted. */
const answers = await readFile(new URL("../../policies/guardrails/answers.cedar", import.meta.url), "utf8");
const policy = `@id("all") permit (principal, action in [Action::"model", Action::"tool"], resource);\n${answers}`;

const token = `ghp_${"a1B2".repeat(10)}`;
const secret = `Use ${token} to log in.`;
const look = (thing: string) => ({ tool: "look", arguments: { thing } });
/** The link stands in a tool's result, which anybody could have written. */
const foreign = [{ calls: [look("https://eve.example/pay")] }, { text: "Pay at https://eve.example/pay." }];

async function outcomes(world: World, run: RunId): Promise<readonly string[]> {
  return (await decisionsOf(world.pool, run)).map(({ seq, outcome, code, policies, facts }) =>
    [seq, facts.response === undefined ? "call" : "answer", outcome, code ?? [], ...policies].flat().join(" "),
  );
}

/** As the server does it: with the reviewer's key, and told to the ledger. `then` comes before the run is woken. */
async function decide(
  world: World,
  request: ApprovalRequest,
  decision: "approve" | "deny",
  reason = "",
  then: () => Promise<void> = () => Promise.resolve(),
  reviewer = "rita",
): Promise<void> {
  const { id, keyId, privateKey, statementFor } = await world.reviewer(reviewer, ["reviewers"]);
  const statement = statementText(statementFor(request, decision, reason));
  const signed = { statement, signature: signStatement(statement, privateKey), keyId };
  await inTransaction(world.pool, async (tx) => {
    const now = new Date();
    const decided = await decideRequest(tx, signed, id, now);
    await appendToOutbox(tx, [approvalDecided(decided, signed, id, now)]);
  });
  await then();
  await world.wake(request.run, request);
}

async function answer(world: World, run: RunId): Promise<unknown> {
  const { result } = await world.closed(run);
  return result === null ? null : getPayload(world.pool, world.keys, result);
}

async function expectVerified(evidence: Evidence): Promise<void> {
  const reports = await auditOf(evidence);
  expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
}

/** Everything that a later turn of the model, a tool, or who asked could read. */
async function whatWentFurther(world: World, run: RunId): Promise<string> {
  const results = (await stepsOf(world.pool, run)).flatMap(({ result }) => result ?? []);
  const read = await Promise.all(results.map((digest) => getPayload(world.pool, world.keys, digest)));
  return JSON.stringify([read, await answer(world, run)]);
}

describe("an answer that policy denies", () => {
  test.each([
    ["in plain words", { text: secret }],
    ["as JSON with escapes", { text: JSON.stringify({ reply: secret }).replace("ghp_", "\\u0067hp_") }],
    ["beside a call of a tool", { text: secret, calls: [look("box")] }],
  ])("goes nowhere, and the model answers once more: a secret %s", async (_how, turn) => {
    const world = await createWorld({ policy, turns: [turn, { text: "I cannot say." }] });
    await world.work();
    const run = await world.start();
    expect(await answer(world, run)).toEqual({ text: "I cannot say." });
    expect(await outcomes(world, run)).toEqual([
      "0 call allow all",
      "0 answer deny forbidden answer/secret",
      "1 call allow all",
      "1 answer allow answer/permit",
    ]);
    expect(await whatWentFurther(world, run)).not.toMatch(/hp_a1B2/);
    expect(await readFile(world.effects, "utf8").catch(() => "")).toBe("");
    const evidence = await evidenceIn(world, run);
    expect(timelineOf(evidence.record)[1]?.lines).toContain("policy on the answer: deny (forbidden) by answer/secret");
    expect(explainDecision(evidence.record, 0)).toMatchObject({
      kind: "response",
      code: "forbidden",
      needed: [expect.stringContaining("answer/secret")],
      doubts: [],
    });
    await expectVerified(evidence);
  });

  test("a second time ends the run with a code of its own", async () => {
    const turns = [{ text: secret }, { text: "See https://nowhere.example/x, which nobody named." }, { text: "third" }];
    const world = await createWorld({ policy, turns });
    await world.work();
    const run = await world.start();
    expect(await world.closed(run)).toMatchObject({
      status: "failed",
      failure: { code: "response_denied" },
      result: null,
    });
    expect((await outcomes(world, run)).at(-1)).toBe("1 answer deny forbidden answer/made-up-link");
    await expectVerified(await evidenceIn(world, run));
  });

  test("costs what it cost, and nothing is held", async () => {
    const world = await createWorld({
      policy,
      turns: [{ text: secret }, { text: "fine" }],
      limits: { maxTokens: 100_000 },
    });
    await world.work();
    const row = await world.closed(await world.start());
    const [first, second] = await stepsOf(world.pool, row.id);
    expect(first?.costMicroUsd).toBeGreaterThan(0);
    expect(row).toMatchObject({
      spentMicroUsd: (first?.costMicroUsd ?? 0) + (second?.costMicroUsd ?? 0),
      heldMicroUsd: 0,
    });
    expect(row).toMatchObject({ spentCalls: 2 });
  });
});

describe("an answer that needs a person", () => {
  test("is shown to them as it is, waits, and goes to who asked once they approve it", async () => {
    const world = await createWorld({ policy, turns: [...foreign, { text: "later" }] });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    expect(await getPayload(world.pool, world.keys, request.rendered)).toMatch(
      /- "Pay at https:\/\/eve\.example\/pay\."/,
    );
    const listed = await shortCalls(world.pool, world.keys, [request]);
    expect(listed.get(request.id)).toBe('text: "Pay at https://eve.example/pay."');
    expect(await world.states(run)).toEqual(["scripted/test:done", "look:done", "scripted/test:waiting"]);
    // Its call is settled while people think.
    expect(await stepsOf(world.pool, run, 2)).toMatchObject([{ costMicroUsd: expect.any(Number), result: null }]);
    await expectVerified(await evidenceIn(world, run));
    await decide(world, request, "approve");
    expect(await answer(world, run)).toEqual({ text: "Pay at https://eve.example/pay." });
    expect((await outcomes(world, run)).slice(-3)).toEqual([
      "2 call allow all",
      "2 answer require_approval answer/foreign-link",
      "2 answer allow answer/permit answer/foreign-link",
    ]);
    const evidence = await evidenceIn(world, run);
    await expectVerified(evidence);
    await expectRefuted(evidence);
  });

  test("is for nobody to approve for whom the run acts, now or when it goes further", async () => {
    const world = await createWorld({ policy, turns: [...foreign, { text: "Ask the shop." }] });
    await world.work();
    const carl = { displayName: "Carl", roles: ["reviewer"] as const, groups: ["reviewers"] };
    await putPrincipal(world.pool, { ...carl, id: "carl.two", person: "carl@example.com" });
    const run = await world.start({ subject: { id: "cus_1", email: "Carl@Example.com" } });
    const request = await world.request(run);
    await expect(decide(world, request, "approve", "", undefined, "carl.two")).rejects.toMatchObject({
      code: "self_approval",
    });
    await decide(world, request, "approve", "", async () => {
      await world.pool.query("update principal set person = 'carl@example.com' where id = 'rita'");
    });
    expect(await answer(world, run)).toEqual({ text: "Ask the shop." });
    expect(await outcomes(world, run)).toContain("2 answer deny invalid_grant gate:invalid_grant");
  });

  test("has all its terms in the ledger, and what was shown is made again from the record", async () => {
    const either = policy.replaceAll('@group("reviewers")', '@approvers("1 of reviewers or owners")');
    const world = await createWorld({ policy: either, turns: foreign });
    await world.work();
    const run = await world.start({ subject: { id: "cus_1", email: "carl@example.com" } });
    const request = await world.request(run);
    await decide(world, request, "approve");
    await world.closed(run);
    const evidence = await evidenceIn(world, run);
    await expectVerified(evidence);
    const changed = async (change: (approval: Record<string, unknown>) => unknown) => {
      const record = structuredClone(evidence.record);
      change(record.approvals[0] as unknown as Record<string, unknown>);
      const { evidence: report } = await auditOf({ ...evidence, record });
      return problemsOf(report).join();
    };
    expect(await changed((approval) => (approval["barred"] = []))).toContain("barred");
    const eased = request.requirements.map((one) => ({ ...one, orGroups: ["reviewers"] }));
    expect(await changed((approval) => (approval["requirements"] = eased))).toContain("requirements");
    const shown = structuredClone(evidence.record);
    const other = "what the model answered, before it goes further:\nnothing\n";
    const digest = digestOf(other);
    const replaced = JSON.parse(
      JSON.stringify(shown)
        .replaceAll(request.rendered, digest)
        .replace('"payloads":{', `"payloads":{"${digest}":${JSON.stringify(other)},`),
    ) as RunRecord;
    expect(problemsOf((await auditOf({ ...evidence, record: replaced })).evidence).join()).toContain(
      "what its reviewers were shown is not the action",
    );
  });

  test("is withheld where they decline it, and the model is told why", async () => {
    const world = await createWorld({ policy, turns: [...foreign, { text: "Ask the shop." }] });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    await decide(world, request, "deny", "that is bait");
    expect(await answer(world, run)).toEqual({ text: "Ask the shop." });
    expect(await whatWentFurther(world, run)).toContain("a reviewer declined: that is bait");
    await expectVerified(await evidenceIn(world, run));
  });

  test("is decided on by the policies in force when they have approved it", async () => {
    const world = await createWorld({ policy, turns: [...foreign, { text: "Ask the shop." }] });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    await decide(world, request, "approve", "", async () =>
      world.activate(`${policy}\n@id("eve") @reason("not there")
forbid (principal, action == Action::"response", resource) when { context.response.links.hosts.contains("eve.example") };`),
    );
    expect(await answer(world, run)).toEqual({ text: "Ask the shop." });
    expect(await outcomes(world, run)).toContain("2 answer deny forbidden eve");
    await expectVerified(await evidenceIn(world, run));
  });

  test("goes nowhere when the run is cancelled, and is in the evidence", async () => {
    const world = await createWorld({ policy, turns: foreign });
    await world.work();
    const run = await world.start();
    await world.request(run);
    await cancelRun(world.client, run);
    expect(await world.closed(run)).toMatchObject({ status: "cancelled", heldMicroUsd: 0, result: null });
    await expectVerified(await evidenceIn(world, run));
  });
});

test("policies that do not speak of answers do not decide on them, whatever else they say of contents", async () => {
  const world = await createWorld({
    policy: `@id("all") permit (principal, action, resource);
@id("secret") forbid (principal, action, resource) when { context.content.dataClasses.contains("secret") };`,
    turns: [{ text: secret }],
  });
  await world.work();
  const run = await world.start();
  expect(await answer(world, run)).toEqual({ text: secret });
  expect(await outcomes(world, run)).toEqual(["0 call allow all"]);
});

test("an answer that may be withheld is not shown while it comes", async () => {
  const deltas = async (text: string): Promise<number> => {
    const world = await createWorld({ policy: text, turns: [{ text: "word ".repeat(50) }] });
    const client = await world.pool.connect();
    let heard = 0;
    client.on("notification", () => (heard += 1));
    await client.query("listen countersign_watch");
    const worker = await world.work();
    const run = await world.register();
    await world.pool.query("update run set watched_until = now() + interval '1 hour' where id = $1", [run]);
    await startAgentRun(world.client, { run, taskQueue: world.taskQueue });
    await world.closed(run);
    // What it had to say is said by then.
    await worker.stop();
    await client.query("select 1");
    client.release(true);
    return heard;
  };
  expect(await deltas('@id("all") permit (principal, action, resource);')).toBeGreaterThan(0);
  expect(await deltas(policy)).toBe(0);
});

describe("another detector of personal data", () => {
  const names = `${policy}
@id("names") @reason("it names a person") forbid (principal, action, resource)
when { context.content.dataClasses.contains("person") };`;

  test("is asked about arguments and answers, and what it said is decided by again from the record", async () => {
    const presidio = await startPresidio([{ text: "Ada Lovelace", entity: "PERSON" }]);
    onTestFinished(() => presidio.close());
    const turns = [
      { calls: [look("Ada Lovelace"), look("box")] },
      { text: "It was Ada Lovelace." },
      { text: "Somebody." },
    ];
    const world = await createWorld({ policy: names, turns });
    await world.work({ detector: detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url }) });
    const run = await world.start();
    expect(await answer(world, run)).toEqual({ text: "Somebody." });
    expect(await outcomes(world, run)).toEqual([
      "0 call allow all",
      "0 answer allow answer/permit",
      "1 call deny forbidden names",
      "2 call allow all",
      "3 call allow all",
      "3 answer deny forbidden names",
      "4 call allow all",
      "4 answer allow answer/permit",
    ]);
    const evidence = await evidenceIn(world, run);
    await presidio.close();
    await expectVerified(evidence);
    const decisions = evidence.record.decisions.map((one) => ({ ...one, facts: { ...one.facts, detected: [] } }));
    const { replay } = await auditOf({ ...evidence, record: { ...evidence.record, decisions } });
    expect(problemsOf(replay).join("\n")).toMatch(/outcome recorded `deny`, decided again `allow`/);
  });

  test("is asked what a model is about to be shown, each text once, and before the decision holds any lock", async () => {
    const presidio = await startPresidio([{ text: "Ada Lovelace", entity: "PERSON" }]);
    onTestFinished(() => presidio.close());
    // A fact of the whole team is counted while it is locked.
    const shown = `@id("all") permit (principal, action, resource);
@id("names") @reason("a person's name goes to no model") forbid (principal, action == Action::"model", resource)
when { context.seen.dataClasses.contains("person") };
@id("often") @reason("too often") forbid (principal, action, resource)
when { context.history.steps > 1000 || context.content.dataClasses.contains("card") };`;
    const turns = [{ calls: [look("box")] }, { calls: [look("Ada Lovelace")] }, { text: "never asked for" }];
    const world = await createWorld({ policy: '@id("none") permit (principal, action, resource);', turns });
    const steps = { name: "steps", measure: "count", actions: ["tool", "model"], per: "team" } as const;
    await world.activate(shown, [steps]);
    await world.work({ detector: detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url }) });
    let open = 0;
    presidio.answer(async (_, analyse) => {
      const { rows } = await world.pool.query<{ open: number }>(
        `select count(*) as open from pg_locks where locktype = 'advisory'
         and database = (select oid from pg_database where datname = current_database())`,
      );
      open += rows[0]?.open ?? 1;
      analyse();
    });
    const run = await world.start();
    expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "model_denied" } });
    expect(await outcomes(world, run)).toEqual([
      "0 call allow all",
      "1 call allow all",
      "2 call allow all",
      "3 call allow all",
      "4 call deny forbidden names",
    ]);
    expect(open).toBe(0);
    const texts = presidio.asked.map(({ body }) => String(body["text"]));
    // The prompt, the first call, what it answered, the second call, what that answered; never the system's prompt.
    expect(
      texts.map((text) => [text.includes("go"), text.includes("box"), text.includes("Ada")].map(Number).join("")),
    ).toEqual(["100", "010", "010", "001", "001"]);
    const evidence = await evidenceIn(world, run);
    await presidio.close();
    await expectVerified(evidence);
  });

  test("denies what it does not answer about, whatever the policies would have said", async () => {
    const presidio = await startPresidio([]);
    onTestFinished(() => presidio.close());
    const world = await createWorld({ policy: names, turns: [{ calls: [look("box")] }, { text: "done" }] });
    await world.work({
      detector: detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url, COUNTERSIGN_PRESIDIO_TIMEOUT_MS: "100" }),
    });
    // The answer that asks for the call has no text, and so nothing to be asked about.
    presidio.answer(() => undefined);
    const run = await world.start();
    expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "response_denied" } });
    expect((await outcomes(world, run)).slice(2)).toEqual([
      "1 call deny undecidable gate:detector",
      "2 call allow all",
      "2 answer deny undecidable gate:detector",
      "3 call allow all",
      "3 answer deny undecidable gate:detector",
    ]);
    await expectVerified(await evidenceIn(world, run));
  });
});

type Draft = { -readonly [Key in keyof RunRecord]: RunRecord[Key] };

/** What an operator could do to the record of an answer, and what is said of it. */
async function expectRefuted({ record, code, verifierKey }: Evidence): Promise<void> {
  const last = record.decisions.findLastIndex(({ facts }) => facts.response !== undefined);
  const found = record.decisions[last];
  if (found?.facts.response === undefined) throw new Error("there is nothing to tamper with");
  const { facts } = found;
  const { response } = found.facts;
  const replaced = (change: object): Draft => ({
    ...record,
    decisions: record.decisions.map((one, index) => (index === last ? { ...one, ...change } : one)),
  });
  const links = { ...response.links, untrusted: 0, grounded: 1, hosts: [] };
  const tampered: readonly (readonly [Draft, RegExp])[] = [
    [
      { ...record, decisions: record.decisions.filter((one) => one.facts.response === undefined) },
      /its answer went further, and was not decided on/,
    ],
    [replaced({ facts: { ...facts, response: { ...response, links } } }), /answer recorded/],
    [replaced({ facts: { ...facts, flow: { ...facts.flow, dataClasses: ["card"] } } }), /flow recorded/],
    [replaced({ outcome: "deny", code: "forbidden" }), /outcome recorded|was denied, and not withheld/],
    [replaced({ approval: null }), /outcome recorded/],
  ];
  for (const [draft, expected] of tampered) {
    const reports = await auditOf({ record: draft, code, verifierKey });
    expect(problemsOf(reports.replay).join("\n")).toMatch(expected);
    expect(reports.replay.verdict).toBe("refuted");
  }
}
