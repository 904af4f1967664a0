import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { WorkflowHandle } from "@temporalio/client";
import { Worker } from "@temporalio/worker";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decideRequest,
  listRequests,
  publicKeyOf,
  requestById,
  signStatement,
  statementFacts,
  statementText,
  verifyStatement,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import { approvalDecidedSignal } from "../../src/core/contract.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { RunId } from "../../src/core/ids.ts";
import { decisionsOf, inTransaction } from "../../src/store/index.ts";
import { cancelRun, createPayloadCodec, readBundle } from "../../src/temporal/index.ts";
import { accounts, Model, personOf, plan } from "../support/signal-plans.ts";
import type { Act, Plan, Says } from "../support/signal-plans.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

/** How many runs, and the first one's seed: `APPROVAL_SIGNALS=1000`, and `APPROVAL_SIGNALS=1 APPROVAL_SIGNALS_SEED=…` for one again. */
const runs = Number(process.env["APPROVAL_SIGNALS"] ?? 150);
const firstSeed = Number(process.env["APPROVAL_SIGNALS_SEED"] ?? 20_260_103);
/** Runs that are played at once. */
const atOnce = 16;
/** Of so many, the history is executed again. */
const replayed = 16;

const policy = `@id("all") permit(principal, action, resource);
@id("one") @decision("require_approval") @group("treasury") @quorum("1") @expires("1h") @reason("one")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents < 5000 };
@id("two") @decision("require_approval") @group("treasury") @quorum("2") @expires("1h") @reason("two")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents >= 5000 };`;
const asking = (quorum: number, amount_cents: number) => ({
  name: `asks ${quorum}`,
  when: `^ask ${quorum}$`,
  turns: [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents } }] }, { text: "done" }],
});

type History = Awaited<ReturnType<WorkflowHandle["fetchHistory"]>>;
type Reviewer = Awaited<ReturnType<World["reviewer"]>>;
type Played = { readonly seed: number; readonly plan: Plan; readonly run: RunId; readonly request: ApprovalRequest };

test(`signals, updates and decisions in any order, late, forged and repeated, sent to ${runs} runs: only what enough people signed in time acts, and once`, async () => {
  const world = await createWorld({
    policy,
    branches: [asking(1, 4_000), asking(2, 6_000)],
    turns: [{ text: "nothing" }],
  });
  let ahead = 0;
  const now = (): Date => new Date(Date.now() + ahead);
  const { bundleDigest } = await world.work({ now });
  const reviewers = new Map<string, Reviewer>();
  for (const [id, { groups, person }] of Object.entries(accounts))
    reviewers.set(id, await world.reviewer(id, groups, person));

  const faults: string[] = [];
  const seen: Record<string, number> = {};
  const note = (what: string) => (seen[what] = (seen[what] ?? 0) + 1);
  const models = new Map<Played, Model>();
  const sent = new Map<Played, Promise<unknown>[]>();
  const histories: { readonly workflowId: string; readonly history: History }[] = [];

  type Started = Pick<Played, "seed" | "plan" | "run">;
  async function start(index: number): Promise<Started> {
    const seed = firstSeed + index;
    const [drawn] = fc.sample(plan, { seed, numRuns: 1 }) as [Plan];
    const tags = { effects: join(world.folder, `effects-${index}`) };
    return { seed, plan: drawn, run: await world.start({ prompt: `ask ${drawn.quorum}`, tags }) };
  }

  async function opened(started: readonly Started[]): Promise<readonly Played[]> {
    const requests = await until(async () => {
      const found = await listRequests(world.pool, { state: "pending", limit: runs });
      return found.length === runs ? new Map(found.map((one) => [one.run, one])) : undefined;
    }, 300_000);
    return started.map((one) => {
      const played = { ...one, request: requests.get(one.run) as ApprovalRequest };
      models.set(played, new Model(one.plan.quorum));
      sent.set(played, []);
      return played;
    });
  }

  async function closed(ended: readonly Played[]): Promise<void> {
    await until(async () => {
      const { rows } = await world.pool.query<{ open: number }>(
        "select count(*)::int as open from run where id = any($1) and closed_at is null",
        [ended.map(({ run }) => run)],
      );
      return rows[0]?.open === 0 ? true : undefined;
    }, 300_000);
  }

  async function say(played: Played, by: string, says: Says, signer = by): Promise<string> {
    const reviewer = reviewers.get(by) as Reviewer;
    const statement = statementText(reviewer.statementFor(played.request, says));
    const signature = signStatement(statement, (reviewers.get(signer) as Reviewer).privateKey);
    return inTransaction(world.pool, (tx) =>
      decideRequest(tx, { statement, signature, keyId: reviewer.keyId }, by, now()),
    )
      .then(({ state, recorded }) => (recorded ? state : "again"))
      .catch((error: unknown) => codeOf(error) ?? String(error));
  }

  async function forge({ request }: Played): Promise<void> {
    const [ghost, mallory] = ["ivan", "mallory"].map((id) => reviewers.get(id) as Reviewer) as [Reviewer, Reviewer];
    const statement = statementText(ghost.statementFor(request, "approve"));
    await world.pool.query(
      `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at, person, groups)
       values ($1, 'ivan', 'approve', $2, $3, $4, $5, 'ivan', '{treasury}')`,
      [request.id, statement, ghost.keyId, signStatement(statement, mallory.privateKey), now()],
    );
    await world.pool.query(
      "update approval_request set state = 'approved', decided_at = $2 where id = $1 and state = 'pending'",
      [request.id, now()],
    );
  }

  /** Nobody waits for what a signal does: they overtake each other, and the decisions. */
  function send(played: Played, work: Promise<unknown>): void {
    sent.get(played)?.push(work.catch((error: unknown) => error));
  }

  async function play(played: Played, acts: readonly Act[], others: readonly Played[]): Promise<void> {
    const model = models.get(played) as Model;
    const { run, request, seed } = played;
    const handle = world.client.workflow.getHandle(run);
    const check = (what: string, got: string, expected: readonly string[]): void => {
      note(`${what} ${got}`);
      // Where the run was cancelled meanwhile, its request may be so too.
      if (!expected.includes(got) && !(model.cancelled && got.includes("request_not_pending")))
        faults.push(`seed ${seed}: ${what} gave ${got}, expected ${expected.join(" or ")}`);
    };
    for (const one of acts) {
      switch (one.kind) {
        case "decide": {
          const got = await say(played, one.by, one.says);
          check("decide", got, model.decide(one.by, one.says));
          break;
        }
        case "together": {
          const got = await Promise.all(one.by.map((by) => say(played, by, "approve")));
          check("together", got.toSorted().join(" "), [model.together(one.by, got)]);
          break;
        }
        case "impersonate":
          check("impersonate", await say(played, one.who, "approve", one.who === "mallory" ? "ivan" : "mallory"), [
            "signature_invalid",
          ]);
          break;
        case "signal": {
          const other = others[seed % Math.max(1, others.length)]?.request.id ?? "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
          const bodies: Readonly<Record<typeof one.what, readonly unknown[]>> = {
            own: [request.id],
            other: [other],
            unknown: ["apr_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
            claim: [request.id, { approved: true, reviewer: "grace" }],
            junk: [{ id: request.id, state: "approved", toString: "approved" }],
            nothing: [],
            long: ["x".repeat(2_000)],
          };
          if (!model.late && (one.what === "own" || one.what === "claim")) model.woken = true;
          send(played, handle.signal(approvalDecidedSignal, ...bodies[one.what]));
          break;
        }
        case "signal named":
          send(played, handle.signal(`${one.name}!`, request.id));
          break;
        case "update":
          send(
            played,
            handle
              .executeUpdate(one.name, { args: [request.id] })
              .then(() => faults.push(`seed ${seed}: an update was taken`)),
          );
          break;
        case "forge":
          if (model.votes.every(({ by }) => by !== "ivan") && model.impostor === undefined) {
            await forge(played);
            model.impostor = "ivan";
            if (model.state === "pending") {
              model.state = "forged";
              note("forged");
            }
          }
          break;
        case "cancel":
          model.cancelled = true;
          await cancelRun(world.client, run).catch((error: unknown) => {
            if (codeOf(error) !== "run_not_found") throw error;
          });
          break;
      }
    }
  }

  /** Whoever decides has the run told, at the latest now; and what nobody has ended is ended. */
  async function end(played: Played, others: readonly Played[]): Promise<void> {
    const model = models.get(played) as Model;
    if (model.state === "pending" && !model.late && !model.cancelled)
      await play(
        played,
        [played.plan.end === "cancel" ? { kind: "cancel" } : { kind: "decide", by: "ivan", says: "deny" }],
        others,
      );
    if (model.state === "pending" && !model.late && !model.cancelled) await play(played, [{ kind: "cancel" }], others);
    await Promise.all(sent.get(played) ?? []);
    await world.wake(played.run, played.request).catch((error: unknown) => {
      if (codeOf(error) !== "run_not_found") throw error;
    });
  }

  async function judge(played: Played): Promise<void> {
    const { seed, run, request } = played;
    const model = models.get(played) as Model;
    const wrong = (what: string) => faults.push(`seed ${seed}: ${what} ${JSON.stringify(played.plan)}`);
    const stored = (await requestById(world.pool, request.id)) as ApprovalRequest;
    note(`ends ${stored.state}`);
    if (!model.ends().includes(stored.state)) wrong(`ended ${stored.state}, expected ${model.ends().join(" or ")}`);

    const lines = await effectsOf(world, seed - firstSeed);
    if (lines.length > 1) wrong(`acted ${lines.length} times`);
    if ((lines.length === 1) !== (stored.state === "consumed"))
      wrong(`acted ${lines.length} times and is ${stored.state}`);
    if (lines.length > 0 && (await signersOf(world, stored, reviewers)) < played.plan.quorum)
      wrong("too few signed it");
    const outcomes = (await decisionsOf(world.pool, run)).filter(({ seq }) => seq === 1).map(({ outcome }) => outcome);
    if (outcomes.filter((outcome) => outcome === "allow").length !== lines.length) wrong(`decided ${outcomes.join()}`);
    const history = await endedHistory(world, run);
    for (const fault of historyFaults(history)) wrong(fault);
    histories.push({ workflowId: run, history });
  }

  // At first all come to wait, so that each has others to be mistaken for; then what comes in time, and then what comes too late.
  const seeds = Array.from({ length: runs }, (_, index) => index);
  const all = await opened(await inTurns(seeds, atOnce, start));
  const late = all.filter((one) => one.plan.late !== undefined);
  const timely = all.filter((one) => one.plan.late === undefined);
  await inTurns(all, atOnce, async (one) => {
    await play(one, one.plan.acts, all);
    if (one.plan.late === undefined) await end(one, all);
  });
  await closed(timely);
  ahead = 2 * 3_600_000;
  await inTurns(late, atOnce, async (one) => {
    (models.get(one) as Model).late = true;
    await play(one, one.plan.late ?? [], all);
    await end(one, all);
  });
  await closed(late);
  await inTurns(all, atOnce, judge);
  const every = Math.ceil(histories.length / replayed);
  const code = (await readBundle(world.pool, bundleDigest)) ?? "";
  const dataConverter = { payloadCodecs: [createPayloadCodec(world.pool, world.keys)] };
  const some = histories.filter((_, place) => place % every === 0);
  const sinks = { replay: { scheduled: { fn: () => undefined } } };
  const again = Worker.runReplayHistories({ workflowBundle: { code }, dataConverter, sinks }, some);
  for await (const { workflowId, error } of again)
    if (error !== undefined) faults.push(`${workflowId} does not replay: ${error.message}`);

  expect(faults).toEqual([]);
  // Else it would hold of nothing.
  if (runs < 50) return;
  const answers = ["approved", "denied", "pending", "again", "decided_before", "self_approval", "not_in_group"];
  for (const end of [
    ...["consumed", "denied", "expired", "cancelled"].map((state) => `ends ${state}`),
    ...[...answers, "request_not_pending"].map((answer) => `decide ${answer}`),
    "impersonate signature_invalid",
    "forged",
  ])
    expect(seen[end] ?? 0, end).toBeGreaterThan(0);
}, 600_000);

async function inTurns<Item, Done>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<Done>,
): Promise<readonly Done[]> {
  const done: Done[] = [];
  const queue = items.entries();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const [index, item] of queue) done[index] = await work(item);
    }),
  );
  return done;
}

async function effectsOf(world: World, index: number): Promise<readonly string[]> {
  const text = await readFile(join(world.folder, `effects-${index}`), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith("pay "));
}

/** How many different people truly signed a yes to this request, in time, by the keys that the test gave them. */
async function signersOf(
  world: World,
  request: ApprovalRequest,
  reviewers: ReadonlyMap<string, Reviewer>,
): Promise<number> {
  const { rows } = await world.pool.query<{ reviewer: string; statement: string; signature: string; at: Date }>(
    "select reviewer, statement, signature, at from approval_decision where request = $1",
    [request.id],
  );
  const expected = { ...statementFacts(request), decision: "approve" };
  const signed = rows.filter(({ reviewer, statement, signature, at }) => {
    const { privateKey } = reviewers.get(reviewer) as Reviewer;
    if (!verifyStatement(statement, signature, publicKeyOf(privateKey)) || at >= request.expiresAt) return false;
    if (accounts[reviewer]?.groups.includes("treasury") !== true || reviewer === "operator") return false;
    const said = JSON.parse(statement) as Record<string, unknown>;
    return Object.entries({ ...expected, reviewer }).every(([name, value]) => said[name] === value);
  });
  return new Set(signed.map(({ reviewer }) => personOf(reviewer))).size;
}

/** `UNHANDLED_COMMAND`: a signal came while the workflow ended, and it ends again. */
const unhandledCommand = 1;

/** The run is closed in the database just before its workflow is. */
async function endedHistory(world: World, run: RunId): Promise<History> {
  return until(async () => {
    const history = await world.client.workflow.getHandle(run).fetchHistory();
    const last = history.events?.at(-1);
    const ended =
      last?.workflowExecutionCompletedEventAttributes ??
      last?.workflowExecutionCanceledEventAttributes ??
      last?.workflowExecutionFailedEventAttributes;
    return ended === undefined || ended === null ? undefined : history;
  }, 60_000);
}

function historyFaults({ events }: History): readonly string[] {
  const failed = (events ?? []).flatMap(({ workflowTaskFailedEventAttributes: of }) => of ?? []);
  const last = events?.at(-1);
  return [
    ...failed
      .filter(({ cause }) => cause !== unhandledCommand)
      .map(({ cause, failure }) => `a workflow task failed: ${cause ?? 0} ${failure?.message ?? ""}`),
    ...(last?.workflowExecutionFailedEventAttributes ? ["the workflow failed"] : []),
  ];
}
