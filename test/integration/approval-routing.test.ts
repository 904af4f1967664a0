import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  approvalEventsAfter,
  consumeGrant,
  delegate,
  eventsOf,
  expireDue,
  listDelegations,
  takeDue,
  undelegate,
  whoMayDecide,
} from "../../src/approvals/index.ts";
import type { Delegation } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import { putPrincipal } from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { createInbox, hour } from "../support/inbox.ts";
import type { Inbox } from "../support/inbox.ts";

let inbox: Inbox;

beforeAll(async () => {
  inbox = await createInbox();
  const people: readonly [string, readonly string[], string?][] = [
    ["olga", ["treasury", "legal"]],
    ["olga.private", ["treasury"], "olga"],
    ["annie", ["treasury"]],
    ["annie.admin", ["treasury"], "annie"],
    ["cleo", ["treasury"]],
    ["cleo2", ["treasury"], "cleo"],
    ["rita", ["treasury"]],
    ["rita2", ["treasury"], "rita"],
    ["rick", ["treasury"]],
    ["lena", ["legal"]],
    ["both", ["treasury", "legal"]],
    ["mia", ["managers"]],
    ["temp", []],
  ];
  for (const [id, groups, person] of people) await inbox.enrol(id, groups, person);
});

afterAll(() => inbox.database.close());

const need = (quorum = 1, group = "treasury", more: Partial<ApprovalRequirement> = {}): ApprovalRequirement => ({
  policy: "p",
  group,
  quorum,
  expiresMs: hour,
  ...more,
});
const ask = (...requirements: readonly ApprovalRequirement[]) => inbox.open({ requirements });
const ofCode = (code: string) => ({ code });
/** The state that a decision led to, or why it was refused. */
const outcomeOf = (decided: ReturnType<Inbox["decide"]>): Promise<string | undefined> =>
  decided.then(
    ({ state }) => state,
    (error: unknown) => codeOf(error),
  );

describe("requirements", () => {
  test("one of A and one of B needs both; any of A or B needs either", async () => {
    const both = await ask(need(1), need(1, "legal"));
    expect((await inbox.decide(both, "rita")).state).toBe("pending");
    expect((await inbox.decide(both, "lena")).state).toBe("approved");
    expect(await inbox.check(both)).toMatchObject({
      status: "granted",
      approvals: [
        { group: "treasury", approvals: 1 },
        { group: "legal", approvals: 1 },
      ],
    });
    const either = await ask(need(2, "treasury", { orGroups: ["legal"] }));
    await expect(inbox.decide(either, "mia")).rejects.toMatchObject(ofCode("not_in_group"));
    expect((await inbox.decide(either, "lena")).state).toBe("pending");
    expect((await inbox.decide(either, "rita")).state).toBe("approved");
    expect(await inbox.check(either)).toMatchObject({ status: "granted" });
  });

  test("where people count once, somebody in both groups fills one place, whichever is free", async () => {
    const shared = await ask(need(1), need(1, "legal"));
    expect((await inbox.decide(shared, "both")).state).toBe("approved");
    const distinct = await ask(need(1, "treasury", { distinct: true }), need(1, "legal"));
    expect((await inbox.decide(distinct, "both")).state).toBe("pending");
    await inbox.approve(distinct);
    expect(await inbox.check(distinct)).toMatchObject({ status: "invalid" });
    const freed = await ask(need(1, "treasury", { distinct: true }), need(1, "legal"));
    await inbox.decide(freed, "both");
    expect((await inbox.decide(freed, "rita")).state).toBe("approved");
    expect(await inbox.check(freed)).toMatchObject({ status: "granted" });
  });
});

describe("separation of duties", () => {
  const subject = ["cleo", "cleo@example.com"];

  test.each([
    ["who asked for the run", "olga"],
    ["a second account of theirs", "olga.private"],
    ["the release's author", "annie"],
    ["a second account of the author", "annie.admin"],
    ["for whom the agent acts", "cleo"],
    ["a second account of theirs", "cleo2"],
  ])("%s does not decide, nor count where a row says so: %s", async (_, who) => {
    const request = await inbox.open({ requirements: [need()], subject });
    await expect(inbox.decide(request, who)).rejects.toMatchObject(ofCode("self_approval"));
    await expect(inbox.decide(request, who, 2, "deny")).rejects.toMatchObject(ofCode("self_approval"));
    await inbox.write(request, who);
    await inbox.approve(request);
    expect(await inbox.check(request, subject)).toMatchObject({ status: "invalid" });
  });

  test("a subject who got an account after the request was opened is stopped at execution", async () => {
    const late = ["dora@example.com"];
    const request = await inbox.open({ requirements: [need()], subject: late });
    await inbox.enrol("dora", ["treasury"], "dora@example.com");
    await inbox.decide(request, "dora");
    expect(await inbox.check(request, late)).toMatchObject({ status: "invalid" });
  });

  test("a second account adds nothing: refused, or counted once where a row says so, or where two prove to be one", async () => {
    const request = await ask(need(2));
    await inbox.decide(request, "rita");
    await expect(inbox.decide(request, "rita2")).rejects.toMatchObject(ofCode("decided_before"));
    await inbox.write(request, "rita2");
    await inbox.approve(request);
    expect(await inbox.check(request)).toMatchObject({ status: "invalid" });

    await inbox.enrol("one", ["treasury"]);
    await inbox.enrol("other", ["treasury"]);
    const later = await ask(need(2));
    await inbox.decide(later, "one");
    expect((await inbox.decide(later, "other")).state).toBe("approved");
    await inbox.regroup("other", ["treasury"], "one");
    expect(await inbox.check(later)).toMatchObject({ status: "invalid" });
    // Nor do two who were one become two by a change in between.
    const split = await ask(need(2));
    await inbox.decide(split, "one");
    await inbox.write(split, "rick", { person: "one", groups: ["treasury"] });
    await inbox.approve(split);
    expect(await inbox.check(split)).toMatchObject({ status: "invalid" });
  });

  test("what counts is the group they decided for then and are in now", async () => {
    await inbox.regroup("temp", ["treasury"]);
    const request = await ask(need(1, "treasury", { orGroups: ["legal"] }));
    await inbox.decide(request, "temp");
    await inbox.regroup("temp", ["legal"]);
    expect(await inbox.check(request)).toMatchObject({ status: "invalid" });
    await inbox.regroup("temp", ["treasury"]);
    expect(await inbox.check(request)).toMatchObject({ status: "granted" });
  });
});

describe("escalation", () => {
  const escalating = () => ask(need(2, "treasury", { escalate: { afterMs: 1_000, to: ["managers"] } }));

  test("lets others decide from its millisecond on, and lowers no quorum", async () => {
    const request = await escalating();
    await expect(inbox.decide(request, "mia", 999)).rejects.toMatchObject({
      code: "not_in_group",
      message: expect.stringContaining(`from ${inbox.at(1_000).toISOString()} of \`managers\``) as string,
    });
    expect((await inbox.decide(request, "mia", 1_000)).state).toBe("pending");
    expect((await inbox.decide(request, "rita", 1_001)).state).toBe("approved");
    expect(await inbox.check(request, [], 1_002)).toMatchObject({ status: "granted" });
  });

  test("does not count a row from before it", async () => {
    const request = await escalating();
    await inbox.write(request, "mia", { afterMs: 999 });
    await inbox.decide(request, "rita", 1_001);
    await inbox.approve(request);
    expect(await inbox.check(request, [], 1_002)).toMatchObject({ status: "invalid" });
  });

  test("and reminders are noted once each by several at once, in due order, and only while somebody waits", async () => {
    const escalate = { afterMs: 1_000, to: ["managers"] };
    const [open, decided] = [
      await ask(need(1, "treasury", { escalate, remindMs: 400 })),
      await ask(need(1, "treasury", { escalate })),
    ];
    await inbox.decide(decided, "rita");
    const take = (ms: number) => inTransaction(inbox.pool, (tx) => takeDue(tx, inbox.at(ms), { limit: 1_000 }));
    const mine = async (ms: number) =>
      (await Promise.all([take(ms), take(ms), take(ms)]))
        .flat()
        .filter(({ request }) => request === open.id || request === decided.id)
        .map(({ kind, dueAt }) => `${kind} ${dueAt.getTime() - inbox.opened.getTime()}`);
    expect(await mine(399)).toEqual([]);
    expect(await mine(400)).toEqual(["reminded 400"]);
    expect(await mine(401)).toEqual([]);
    // Nobody looked for a while: of the reminders that passed, the latest.
    expect((await mine(1_700)).toSorted()).toEqual(["escalated 1000", "reminded 1600"]);
    expect(await mine(hour)).toEqual([]);
    expect((await eventsOf(inbox.pool, open.id, 10)).map(({ kind }) => kind)).toEqual([
      "opened",
      "reminded",
      "escalated",
      "reminded",
    ]);
    expect((await expireDue(inbox.pool, inbox.at(hour), 1_000)).map(({ id }) => id)).toContain(open.id);
    expect((await eventsOf(inbox.pool, open.id, 1)).map(({ kind }) => kind)).toEqual(["expired"]);
  });
});

describe("a delegation", () => {
  let people = 0;
  /** Somebody of whom no other test knows. */
  async function somebody(groups: readonly string[] = [], person?: string): Promise<string> {
    people += 1;
    const id = `somebody${people}`;
    await inbox.enrol(id, groups, person);
    return id;
  }
  type Terms = Partial<Delegation> & Pick<Delegation, "delegator" | "delegate">;
  const give = (terms: Terms) => {
    const rest = { team: null, tool: null, maxAmount: null, reason: "away", from: inbox.at(-1), until: inbox.at(hour) };
    return inTransaction(inbox.pool, (tx) => delegate(tx, { ...rest, ...terms }, terms.delegator, inbox.at(-1)));
  };
  const between = async (limits: Partial<Delegation> = {}, groups: readonly string[] = ["treasury"]) => {
    const [delegator, to] = [await somebody(groups), await somebody()];
    return { given: await give({ ...limits, delegator, delegate: to }), delegator, to };
  };
  const end = ({ id, delegator }: Delegation, ms: number) =>
    inTransaction(inbox.pool, (tx) => undelegate(tx, id, delegator, inbox.at(ms)));
  const forge = async ({ id, delegator }: Delegation, by: string, amount?: number) => {
    const request = await inbox.open({ requirements: [need()], ...(amount === undefined ? {} : { amount }) });
    await inbox.write(request, by, { person: by, groups: ["treasury"], delegation: id, forPerson: delegator });
    await inbox.approve(request);
    return (await inbox.check(request)).status;
  };

  test("lets the delegate decide as themselves with the delegator's groups, and is shown", async () => {
    const { given, delegator, to } = await between();
    const request = await ask(need(2));
    const { people: may, barred } = await whoMayDecide(inbox.pool, request, inbox.at(1));
    expect(may).toContainEqual({ id: to, groups: [], insteadOf: delegator });
    expect(barred).toEqual([
      { person: "annie", because: "author" },
      { person: "olga", because: "requester" },
    ]);
    const { capacity } = await inbox.decide(request, to);
    expect(capacity).toMatchObject({ person: to, groups: ["treasury"], mandate: { id: given.id, delegator } });
    expect((await inbox.decide(request, "rita")).state).toBe("approved");
    expect(await inbox.check(request)).toMatchObject({ status: "granted" });
    // Ended later, it was in force when they decided; but it gives no more than the delegator has.
    await end(given, 3);
    expect(await inbox.check(request)).toMatchObject({ status: "granted" });
    await inbox.regroup(delegator, []);
    expect(await inbox.check(request)).toMatchObject({ status: "invalid" });
    await inbox.regroup(delegator, ["treasury"]);
    expect(await inTransaction(inbox.pool, (tx) => consumeGrant(tx, request.id, inbox.at(4)))).toBe(true);
  });

  test.each<[string, Partial<Delegation>, boolean]>([
    ["of another team", { team: "bank" }, false],
    ["of this team", { team: "shop" }, true],
    ["of another tool", { tool: "pay" }, false],
    ["of this tool", { tool: "refund" }, true],
    ["up to less", { maxAmount: 99 }, false],
    ["up to as much", { maxAmount: 100 }, true],
  ])("%s covers what it says", async (_, limit, covers) => {
    const { given, to } = await between(limit);
    const request = await inbox.open({ requirements: [need()], amount: 100 });
    expect(await outcomeOf(inbox.decide(request, to))).toBe(covers ? "approved" : "not_in_group");
    // Nor does a row that rests on it count where it does not.
    expect(await forge(given, to, 100)).toBe(covers ? "granted" : "invalid");
    // Nor does a limit say anything of less than nothing.
    const below = await inbox.open({ requirements: [need()], amount: -1 });
    const unlimited = limit.maxAmount === undefined;
    expect(await outcomeOf(inbox.decide(below, to))).toBe(covers && unlimited ? "approved" : "not_in_group");
    // What an unknown amount comes to, nobody knows.
    const unknown = await outcomeOf(inbox.decide(await ask(need()), to));
    expect(unknown).toBe(covers && limit.maxAmount === undefined ? "approved" : "not_in_group");
  });

  test("holds from its first to before its last millisecond, and not once it was ended", async () => {
    const { given, to } = await between({ from: inbox.at(10), until: inbox.at(20) });
    const tries: readonly [number, boolean][] = [
      [9, false],
      [10, true],
      [19, true],
      [20, false],
    ];
    for (const [ms, holds] of tries) {
      const outcome = await outcomeOf(inbox.decide(await ask(need()), to, ms));
      expect(outcome, String(ms)).toBe(holds ? "approved" : "not_in_group");
    }
    expect(await forge(given, to)).toBe("invalid");
    await end(given, 15);
    await expect(inbox.decide(await ask(need()), to, 15)).rejects.toMatchObject(ofCode("not_in_group"));
    expect(await listDelegations(inbox.pool, { principal: to, openAt: inbox.at(12), limit: 10 })).toEqual([]);
    expect(await listDelegations(inbox.pool, { principal: to, limit: 10 })).toHaveLength(1);
  });

  test("counts once with whom it is for, in either order, and a denial of theirs still ends it", async () => {
    const { delegator, to } = await between();
    const first = await ask(need(2));
    await inbox.decide(first, delegator);
    await expect(inbox.decide(first, to)).rejects.toMatchObject(ofCode("decided_before"));
    const second = await ask(need(2));
    await inbox.decide(second, to);
    expect((await inbox.decide(second, delegator)).state).toBe("pending");
    await inbox.approve(second);
    expect(await inbox.check(second)).toMatchObject({ status: "invalid" });
    const third = await ask(need(2));
    await inbox.decide(third, to);
    expect((await inbox.decide(third, delegator, 3, "deny")).state).toBe("denied");
  });

  test("is no way to approve one's own: neither by who is barred, nor for them, nor in a chain, nor with another's", async () => {
    const member = await somebody(["treasury"]);
    await give({ delegator: member, delegate: "olga" });
    await expect(inbox.decide(await ask(need()), "olga")).rejects.toMatchObject(ofCode("self_approval"));
    for (const barred of ["olga", "olga.private", "annie.admin"]) {
      const to = await somebody();
      const given = await give({ delegator: barred, delegate: to });
      await expect(inbox.decide(await ask(need()), to), barred).rejects.toMatchObject(ofCode("not_in_group"));
      expect(await forge(given, to), barred).toBe("invalid");
    }
    const { given, to: middle } = await between();
    await inbox.regroup(middle, ["legal"]);
    const last = await somebody();
    await give({ delegator: middle, delegate: last });
    await expect(inbox.decide(await ask(need()), last)).rejects.toMatchObject(ofCode("not_in_group"));
    expect(await forge(given, last)).toBe("invalid");
  });

  test("is not given where it would give nothing, or to nobody", async () => {
    const [none, clerk] = [await somebody(), "clerk"];
    await putPrincipal(inbox.pool, { id: clerk, displayName: clerk, roles: ["operator"], groups: [] });
    for (const terms of [
      { delegator: "rita", delegate: "rita2" },
      { delegator: "rita", delegate: "rita" },
      { delegator: none, delegate: "rick" },
      { delegator: "rita", delegate: "nobody" },
      { delegator: "rita", delegate: clerk },
      { delegator: "rita", delegate: "rick", until: inbox.at(-2) },
      { delegator: "rita", delegate: "rick", until: inbox.at(400 * 24 * hour) },
    ])
      await expect(give(terms), JSON.stringify(terms)).rejects.toMatchObject(ofCode("delegation_invalid"));
  });

  test("is changed by nobody, and ended once", async () => {
    const { given } = await between();
    for (const set of ["delegate = 'mia'", "until_at = until_at + interval '1 day'", "max_amount = 1"])
      await expect(
        inbox.pool.query(`update approval_delegation set ${set} where id = $1`, [given.id]),
      ).rejects.toMatchObject(ofCode("23001"));
    expect(await end(given, 5)).toMatchObject({ changed: true });
    expect(await end(given, 6)).toMatchObject({ changed: false });
    await expect(
      inbox.pool.query("update approval_delegation set revoked_at = null, revoked_by = null where id = $1", [given.id]),
    ).rejects.toMatchObject(ofCode("23001"));
  });
});

test("what was routed never changes", async () => {
  const request = await inbox.open({ requirements: [need()], amount: 5 });
  for (const set of ["barred = '[]'", "amount = 1"])
    await expect(
      inbox.pool.query(`update approval_request set ${set} where id = $1`, [request.id]),
    ).rejects.toMatchObject(ofCode("23001"));
});

test("the queue of events passes over nothing that a transaction still has to commit", async () => {
  let cursor = undefined as Awaited<ReturnType<typeof approvalEventsAfter>>["cursor"];
  const read = async () => {
    const page = await approvalEventsAfter(inbox.pool, cursor, 1_000);
    cursor = page.cursor;
    return page.events.map(({ request, kind }) => `${request} ${kind}`);
  };
  // Elsewhere on this server, other tests have transactions open for a while.
  const readUntil = async (last: string) => {
    const all: string[] = [];
    await expect.poll(async () => all.push(...(await read())) && all.at(-1), { timeout: 20_000 }).toBe(last);
    return all;
  };
  const first = await ask(need());
  await readUntil(`${first.id} opened`);
  const [slow, fast] = [await ask(need()), await ask(need())];
  const seen: string[] = [];
  await inTransaction(inbox.pool, async (tx) => {
    await tx.query("update approval_request set state = 'cancelled' where id = $1", [slow.id]);
    await inbox.decide(fast, "rita");
    seen.push(...(await read()));
  });
  seen.push(...(await readUntil(`${fast.id} approved`)));
  expect(seen).toEqual([
    `${slow.id} opened`,
    `${fast.id} opened`,
    `${slow.id} cancelled`,
    `${fast.id} decided`,
    `${fast.id} approved`,
  ]);
});

describe("roles for teams", () => {
  const limitTo = (id: string, teams: readonly string[] | undefined) =>
    putPrincipal(inbox.database.pool, {
      id,
      displayName: id,
      roles: ["reviewer", "operator"],
      groups: ["treasury"],
      ...(teams === undefined ? {} : { roleTeams: { reviewer: teams } }),
    });

  test("whoever reviews for other teams decides on nothing here, is not shown as who may, and has delegated nothing", async () => {
    const request = await ask(need());
    const { team, openedAt } = request;
    await inbox.enrol("tom", ["treasury"]);
    await inbox.enrol("tess", []);
    const until = new Date(openedAt.getTime() + hour);
    const terms = { delegator: "tom", delegate: "tess", team: null, tool: null, maxAmount: null, reason: "", until };
    await delegate(inbox.database.pool, { ...terms, from: openedAt }, "tom", openedAt);
    const shown = async () =>
      (await whoMayDecide(inbox.database.pool, request, openedAt)).people
        .map(({ id }) => id)
        .filter((id) => /^te?[os]/.test(id));
    expect(await shown()).toEqual(["tom", "tess"]);
    await limitTo("tom", ["another-team"]);
    expect(await shown()).toEqual([]);
    for (const by of ["tom", "tess"])
      await expect(inbox.decide(request, by)).rejects.toMatchObject(ofCode("not_in_group"));
    await limitTo("tom", ["another-team", team]);
    expect(await shown()).toEqual(["tom", "tess"]);
    expect((await inbox.decide(request, "tom")).state).toBe("approved");
    // Limited in between, the approval is nobody's; whatever the request's state says.
    await limitTo("tom", ["another-team"]);
    expect(await inbox.check(request)).toMatchObject({ status: "invalid" });
    await limitTo("tom", undefined);
    expect(await inbox.check(request)).toMatchObject({ status: "granted" });
  });
});
