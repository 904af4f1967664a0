import { expect, test } from "vitest";

import { decisionsOf as approvalDecisionsOf } from "../../src/approvals/index.ts";
import type { ApprovalRequest, StoredDecision } from "../../src/approvals/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunStatus } from "../../src/core/run.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { approvalDecided } from "../../src/server/ledger-events.ts";
import { cancelRun, wakeRun } from "../../src/temporal/index.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";
import { auditOf, problemsOf } from "./running-stack.ts";
import { evidenceIn } from "../support/world-evidence.ts";

type Options = Parameters<typeof createWorld>[0];
type Case = {
  readonly what: string;
  readonly options: Options;
  readonly status: RunStatus;
  /** What must be in the ledger for the case to be one. */
  readonly shows: string;
  readonly act?: (world: World, run: RunId) => Promise<unknown>;
};

/** As the server does it: the decision, and its entry in the ledger. */
async function decideInLedger(
  world: World,
  reviewer: Awaited<ReturnType<World["reviewer"]>>,
  request: ApprovalRequest,
) {
  const decided = await reviewer.decide(request, "approve");
  const [signed] = await approvalDecisionsOf(world.pool, request.id);
  const stored = signed as StoredDecision;
  const event = approvalDecided(decided, stored, reviewer.id, stored.at);
  await appendToOutbox(world.pool, [event]);
}

/** How far the gate's clock is ahead. */
let ahead = 0;

const pay = (cents: number) => ({ tool: "pay", arguments: { to: "ada", amount_cents: cents } });
const look = { tool: "look", arguments: { thing: "box" } };
const done = { text: "done" };
const output = {
  type: "object",
  properties: { ok: { type: "boolean" } },
  required: ["ok"],
  additionalProperties: false,
} as const;

const cases: readonly Case[] = [
  {
    what: "a call whose number was capped, one whose text was redacted, and one that was only recorded",
    options: {
      policy: `@id("all") permit (principal, action, resource);
@id("cap") @decision("cap") @argument("amount_cents") @max("250")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 250 };
@id("redact") @decision("redact") @argument("text") forbid (principal, action == Action::"tool/shout", resource);
@id("shadow") @decision("shadow") forbid (principal, action == Action::"tool/look", resource);`,
      turns: [{ calls: [pay(900), { tool: "shout", arguments: { text: "card" } }, look] }, done],
    },
    status: "completed",
    shows: '"effective":',
  },
  {
    what: "parallel calls, one of them denied",
    options: { turns: [{ calls: [look, pay(60_000), pay(100), look] }, done] },
    status: "completed",
    shows: '"code":"forbidden"',
  },
  {
    what: "documents of three kinds, a query whose number was capped, and one that was denied",
    options: {
      retrieval: [],
      policy: `@id("all") permit (principal, action, resource);
@id("cap") @decision("cap") @argument("limit") @max("2")
forbid (principal, action in Action::"retrieval", resource) when { context.input.limit > 2 };
@id("old") forbid (principal, action in Action::"group/old", resource);`,
      turns: [
        {
          calls: [
            { tool: "shelf", arguments: { query: "accounts note merger board", limit: 3 } },
            { tool: "archive", arguments: { query: "accounts", limit: 1 } },
          ],
        },
        { calls: [pay(100)] },
        done,
      ],
    },
    status: "completed",
    shows: '"step":"retrieval"',
  },
  {
    what: "an invented tool and arguments that do not fit",
    options: {
      turns: [
        {
          calls: [
            { tool: "fly", arguments: {} },
            { tool: "pay", arguments: { to: 7 } },
          ],
        },
        done,
      ],
    },
    status: "completed",
    shows: '"code":"unknown_tool"',
  },
  {
    what: "an outcome that nobody knows",
    options: { turns: [{ calls: [{ tool: "shout", arguments: { text: "hey", break: true } }] }, done] },
    status: "cancelled",
    shows: "step.unknown",
    act: async (world, run) => {
      await world.unknown(run);
      await cancelRun(world.client, run);
    },
  },
  {
    what: "a call that a reviewer changed twice, and others approved",
    options: { turns: [{ calls: [pay(6_000)] }, done] },
    status: "completed",
    shows: "approval.edited",
    act: async (world, run) => {
      const [rita, rick, rosa] = await Promise.all(["rita", "rick", "rosa"].map((id) => world.reviewer(id)));
      const first = await world.request(run);
      const asked = world.actionOf(first, { to: "ada", amount_cents: 6_000 });
      await rita?.edit(first, asked, { to: "ada", amount_cents: 5_500 }, "less");
      await world.wake(run, first);
      const second = await world.request(run);
      await rick?.edit(
        second,
        { ...asked, arguments: { to: "ada", amount_cents: 5_500 } },
        { to: "bob", amount_cents: 5_400 },
      );
      await world.wake(run, second);
      const third = await world.request(run);
      await decideInLedger(world, rosa as NonNullable<typeof rosa>, third);
      await world.wake(run, third);
    },
  },
  {
    what: "an interrupted call of which somebody said that it happened",
    options: { turns: [{ calls: [{ tool: "shout", arguments: { text: "hey", break: true } }] }, done] },
    status: "completed",
    shows: "step.reconciled",
    act: async (world, run) => {
      const outcome = await world.unknown(run);
      await (await world.reviewer("rita")).resolve(outcome, "happened", "I heard it");
      await wakeRun(world.client, run, outcome.id);
    },
  },
  {
    what: "no steps left",
    options: { turns: [{ calls: [look] }, { calls: [look] }, done], limits: { maxSteps: 3 } },
    status: "failed",
    shows: '"failure":"limit_steps"',
  },
  {
    what: "an answer that was repaired",
    options: { output, turns: [{ text: "not json" }, { json: { ok: true } }] },
    status: "completed",
    shows: '"steps":2',
  },
  {
    what: "an answer that could not be repaired",
    options: { output, turns: [{ text: "no" }, { text: "no" }] },
    status: "failed",
    shows: '"failure":"invalid_output"',
  },
  {
    what: "cancelled while it waits for a person",
    options: { turns: [{ calls: [pay(6_000), look] }, done] },
    status: "cancelled",
    shows: "approval.cancelled",
    act: async (world, run) => {
      await world.request(run);
      await cancelRun(world.client, run);
    },
  },
  {
    what: "a request that nobody decided in time",
    options: { turns: [{ calls: [pay(6_000)] }, done] },
    status: "completed",
    shows: "approval.expired",
    act: async (world, run) => {
      const request = await world.request(run);
      // The gate's clock is what counts: two hours ahead, the request has expired when the workflow wakes.
      ahead = 2 * 3_600_000;
      await world.wake(run, request);
    },
  },
];

test.each(cases)("verified, since nothing was done to it: $what", async ({ options, status, shows, act }) => {
  ahead = 0;
  const world = await createWorld(options);
  await world.work({ now: () => new Date(Date.now() + ahead) });
  const run = await world.start();
  await act?.(world, run);
  expect(await world.closed(run)).toMatchObject({ status });
  const evidence = await evidenceIn(world, run);
  expect(evidence.record.ledger.entries.map(({ leaf }) => leaf).join("\n")).toContain(shows);
  const reports = await auditOf(evidence);
  expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
  expect([reports.replay.verdict, reports.evidence.verdict]).toEqual(["verified", "verified"]);
});

test("a run that waits for more than its limit is verified while it waits: that it had to ask is worked out again", async () => {
  const world = await createWorld({
    limits: { maxCostMicroUsd: 1_200 },
    turns: [{ calls: [look], repeat: true }],
  });
  await world.work();
  const run = await world.start();
  await world.request(run);
  const evidence = await evidenceIn(world, run);
  expect(evidence.record.decisions.at(-1)).toMatchObject({ outcome: "require_approval", policies: ["budget:run"] });
  const reports = await auditOf(evidence);
  expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
});

test("a run that waits for a person is verified while it waits", async () => {
  const world = await createWorld({ turns: [{ calls: [look] }, { calls: [pay(6_000), look] }, done] });
  await world.work();
  const run = await world.start();
  await world.request(run);
  await until(async () =>
    (await world.states(run)).filter((state) => state === "look:done").length === 2 ? true : undefined,
  );
  const reports = await auditOf(await evidenceIn(world, run));
  expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
});

test("a run at work is verified at any moment: its record is of one", async () => {
  const look = {
    calls: [
      { tool: "look", arguments: { thing: "box" } },
      { tool: "pay", arguments: { to: "ada", amount_cents: 1 } },
    ],
  };
  const world = await createWorld({
    limits: { maxSteps: 500 },
    turns: [...Array.from({ length: 40 }, () => look), { text: "done" }],
  });
  await world.work();
  const run = await world.start();
  const verdicts = new Set<string>();
  for (let open = true; open;) {
    const evidence = await evidenceIn(world, run);
    open = evidence.record.run.closedAt === null;
    const { replay, evidence: proved } = await auditOf(evidence);
    // What is newer than the last checkpoint has no proof yet; nothing may be refuted.
    const refuted = [...replay.checks, ...proved.checks].filter((check) => check.status === "failed");
    expect(refuted).toEqual([]);
    verdicts.add(open ? "open" : "closed");
  }
  expect([...verdicts].toSorted()).toEqual(["closed", "open"]);
});
