import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, onTestFinished, test, vi } from "vitest";

import { replayRun, timelineOf, verifyRun } from "../../src/audit/index.ts";
import { checkDecisions } from "../../src/audit/decisions/redecide.ts";
import { standingKind, signText } from "../../src/approvals/index.ts";
import { createClient } from "../../src/api/index.ts";
import type { ApiClient } from "../../src/api/index.ts";
import { buildProgram } from "../../src/cli/program.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import type { StandingGrantRecord } from "../../src/core/standing-grant.ts";
import { hashToken, moveChannel, putPrincipal } from "../../src/registry/index.ts";
import { canonicalText } from "../../src/store/canonical.ts";
import { stepsOf } from "../../src/store/index.ts";
import { serve } from "../support/served.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";

const people = { rita: ["treasury"], rick: ["treasury"], lea: ["legal"] } as const;
type Who = keyof typeof people;

/** The commands as several reviewers would use them, against a real server with a sequencer. */
async function commands(world: World) {
  const keys = new Map<Who, string>();
  for (const [id, groups] of Object.entries(people) as [Who, readonly string[]][]) {
    const { privateKey } = await world.reviewer(id, groups);
    const roles = ["reviewer", "auditor", "operator"] as const;
    await putPrincipal(world.pool, { id, displayName: id, roles, groups }, hashToken(`${id}-token-of-the-test`));
    const file = join(world.folder, `${id}.pem`);
    await writeFile(file, privateKey);
    keys.set(id, file);
  }
  const { http, verifierKey } = await serve(world);
  const url = await http.listen({ port: 0, host: "127.0.0.1" });
  onTestFinished(() => {
    vi.restoreAllMocks();
    process.exitCode = 0;
  });
  const run = async (who: Who, ...argv: readonly string[]) => {
    const written: string[] = [];
    vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
    vi.spyOn(process.stderr, "write").mockImplementation(() => true);
    vi.stubEnv("COUNTERSIGN_KEY_FILE", keys.get(who) ?? "");
    try {
      const own = ["--url", url, "--token", `${who}-token-of-the-test`];
      await buildProgram().parseAsync(["node", "countersign", ...own, "approvals", "grant", ...argv]);
    } finally {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
    }
    return written.join("");
  };
  const client = (who: Who): ApiClient => createClient({ baseUrl: url, token: `${who}-token-of-the-test` });
  return { run, client, verifierKey };
}

const pay = (to: string, amount_cents: number) => ({ tool: "pay", arguments: { to, amount_cents } });
const bounds = ["--uses", "5", "--until", "14d", "--reason", "every day"] as const;
const rest = ["--sum", "amount_cents=50000", "--unconstrained", "slow_ms", ...bounds, "--yes"] as const;

test("from a request to its uses and its end, by the command line; and what an auditor finds of it, and of what was tampered with", async () => {
  const world = await createWorld({
    turns: [{ calls: [pay("ada", 6_000)] }, { calls: [pay("ada", 7_000)] }, { text: "done" }],
  });
  await world.work();
  const { run, client, verifierKey } = await commands(world);
  const first = await world.start();
  const request = await world.request(first);
  const refused = (argv: readonly string[], code: string, hint = "") =>
    expect(run("rita", "propose", ...argv)).rejects.toMatchObject({ code, message: expect.stringContaining(hint) });
  await refused(
    [request.id, "--target", "to", ...bounds, "--yes"],
    "standing_grant_invalid",
    "`amount_cents`, `slow_ms`",
  );
  await refused([request.id, "--target", "to=*", ...rest], "standing_grant_invalid", "anything");
  await refused([request.id, "--target", "x", ...rest], "usage");
  await refused([request.id, "--target", "to", "--team", "testers", ...rest], "usage");
  await refused(["--target", "to=ada", ...rest], "usage");
  await refused(
    ["--team", "testers", "--agent", "tester", "--tool", "pay", "--policy", "x", "--target", "to=ada", ...rest],
    "standing_grant_invalid",
    "production",
  );
  await refused([request.id, "--target", "to", "--sum", "x", "--unconstrained", "slow_ms", ...bounds], "usage");
  // Read, and not agreed to.
  await refused([request.id, "--target", "to", ...rest.slice(0, -1)], "not_confirmed");
  expect(await run("rita", "list")).toContain("nothing is granted ahead");

  const proposed = JSON.parse(await run("rita", "--json", "propose", request.id, "--target", "to", ...rest)) as {
    grant: { id: string; state: string };
  };
  const { id } = proposed.grant;
  expect(proposed.grant.state).toBe("proposed");
  await expect(run("rita", "approve", id, "--yes")).rejects.toMatchObject({ code: "already_decided" });
  await expect(run("lea", "approve", id, "--yes")).rejects.toMatchObject({ code: "not_eligible" });
  const text = await run("rick", "approve", id, "--yes");
  for (const line of [
    '"to" is "ada"',
    '"slow_ms" is UNCONSTRAINED',
    "50000 at the most",
    "5 calls at the most",
    "it is active",
  ])
    expect(text).toContain(line);
  await expect(run("rick", "approve", id, "--yes")).rejects.toMatchObject({ code: "standing_grant_closed" });

  const used = await world.start();
  expect(await world.closed(used)).toMatchObject({ status: "completed" });
  expect((await stepsOf(world.pool, used)).map(({ state }) => state)).toEqual(["done", "done", "done", "done", "done"]);
  expect(await run("rita", "list")).toContain("2 of 5, 13000 of 50000");
  expect(await run("lea", "show", id)).toContain("used 2 of 5, 13000 of 50000 in sum");

  const record = await client("lea").runRecord({ params: { run: used } });
  await audited(record as RunRecord, verifierKey, client("lea"));

  await expect(run("lea", "revoke", id)).rejects.toMatchObject({ code: "not_eligible" });
  expect(await run("rick", "revoke", id)).toContain("no further step uses it");
  expect(await run("rick", "revoke", id)).toContain("before");
  expect(await run("rita", "list")).toContain("nothing is granted ahead");
  expect(await run("rita", "list", "--all")).toContain("revoked");
  const after = await world.start();
  expect(await world.request(after)).toMatchObject({ state: "pending" });
  await expect(run("rita", "show", "sgr_01ARZ3NDEKTSV4RRFFQ69G5FAV")).rejects.toMatchObject({
    code: "standing_grant_not_found",
  });
  // Revoked after its uses: they stay what they were.
  const later = await client("lea").runRecord({ params: { run: used } });
  expect(failed(verifyRun(later as RunRecord, verifierKey))).toEqual([]);
}, 90_000);

test("on its own, for an agent in production; a server that shows other terms than it keeps gets a statement of no use", async () => {
  const world = await createWorld({ turns: [{ calls: [pay("ada", 6_000)] }, { text: "done" }] });
  await world.work();
  const { run, client } = await commands(world);
  await moveChannel(world.pool, {
    team: "testers",
    agent: "tester",
    channel: "production",
    release: world.release.digest,
    by: "operator",
    reason: "r",
    now: new Date(),
  });
  const about = ["--team", "testers", "--agent", "tester", "--tool", "pay", "--target", "to=ada"];
  await expect(run("rita", "propose", ...about, "--policy", "pay-limit", ...rest)).rejects.toMatchObject({
    code: "standing_grant_invalid",
  });
  await expect(
    run("rita", "propose", ...about, "--policy", "pay-needs-a-person", ...rest, "--until", "91d"),
  ).rejects.toMatchObject({
    message: expect.stringContaining("90 days"),
  });
  const { grant } = JSON.parse(
    await run("rita", "--json", "propose", ...about, "--policy", "pay-needs-a-person", ...rest),
  ) as { grant: { id: string } };
  await run("rick", "approve", grant.id, "--yes");
  const one = await world.start();
  expect(await world.closed(one)).toMatchObject({ status: "completed" });

  const draft = await client("rita").draftStanding({
    body: {
      team: "testers",
      agent: "tester",
      tool: "pay",
      policies: ["pay-needs-a-person"],
      targets: [{ argument: "to", is: "ada" }],
      unconstrained: ["slow_ms", "amount_cents"],
      uses: 1,
      until: new Date(Date.now() + 60_000).toISOString(),
      reason: "r",
    },
  });
  const { readFileSync } = await import("node:fs");
  const key = readFileSync(join(world.folder, "rita.pem"), "utf8");
  const { keyIdOf, publicKeyOf } = await import("../../src/approvals/index.ts");
  const send = (terms: object) => {
    const statement = canonicalText({ ...draft.statement, reviewer: "rita", issuedAt: new Date().toISOString() });
    const signature = signText(standingKind.type, statement, key);
    return client("rita").proposeStanding({
      body: { statement, signature, keyId: keyIdOf(publicKeyOf(key)), terms: terms as never },
    });
  };
  await expect(send({ ...draft.terms, uses: 2 })).rejects.toMatchObject({ code: "statement_invalid" });
  await expect(send({ ...draft.terms, also: 1 })).rejects.toMatchObject({ code: "standing_grant_invalid" });
  await expect(send({ ...draft.terms, toolDigest: "0".repeat(64) })).rejects.toMatchObject({
    code: "standing_grant_invalid",
  });
  const [asked] = draft.terms.requirements;
  await expect(send({ ...draft.terms, requirements: [{ ...asked, quorum: 2 }] })).rejects.toMatchObject({
    code: "standing_grant_invalid",
  });
  expect(await send(draft.terms)).toMatchObject({ grant: { state: "proposed" } });
  await expect(send(draft.terms)).rejects.toMatchObject({ code: "standing_grant_invalid" });
}, 90_000);

async function audited(record: RunRecord, verifierKey: string, client: ApiClient): Promise<void> {
  const { code } = await client.bundle({ params: { digest: record.run.workflowBundle as never } });
  expect([...failed(await replayRun(record, code)), ...failed(verifyRun(record, verifierKey))]).toEqual([]);
  // Without executing its code again, which none of these touches.
  const faults = (of: RunRecord) =>
    [checkDecisions(of), ...verifyRun(of, verifierKey).checks]
      .filter(({ name }) => name !== "seals")
      .flatMap(({ problems, status, detail }) => (status === "incomplete" ? [detail] : problems));
  expect(
    timelineOf(record)
      .flatMap(({ lines }) => lines)
      .join("\n"),
  ).toMatch(/approved ahead by rita, rick: sgr_\w+, use 2 of 5/);
  const told = [...verifyRun(record, verifierKey).checks].find(({ name }) => name === "approvals")?.detail;
  expect(told).toContain("uses by other runs are not here");

  type Approval = StandingGrantRecord["approvals"][number];
  type Use = StandingGrantRecord["uses"][number];
  const grants = (change: (one: StandingGrantRecord) => object): RunRecord => ({
    ...record,
    standingGrants: (record.standingGrants ?? []).map((one) => ({ ...one, ...change(one) })),
  });
  const terms = (change: object) => grants((one) => ({ terms: { ...one.terms, ...change } }));
  const approvals = (change: (one: Approval, place: number) => object) =>
    grants((one) => ({ approvals: one.approvals.map((each, place) => ({ ...each, ...change(each, place) })) }));
  const uses = (change: (one: Use, place: number) => object) =>
    grants((one) => ({ uses: one.uses.map((each, place) => ({ ...each, ...change(each, place) })) }));
  const ledger = (change: (leaf: { kind: string; facts: Record<string, unknown> }) => boolean): RunRecord => ({
    ...record,
    ledger: {
      ...record.ledger,
      grants: (record.ledger.grants ?? []).filter(({ leaf }) => change(JSON.parse(leaf) as never)),
    },
  });
  const tampered: Readonly<Record<string, readonly [string, RunRecord]>> = {
    "the grant left out": ["which is missing", { ...record, standingGrants: [] }],
    "the grant twice": [
      "recorded twice",
      {
        ...record,
        standingGrants: [...(record.standingGrants ?? []), ...(record.standingGrants ?? [])],
      },
    ],
    "the decision said to be by nothing": [
      "no decision is by it",
      {
        ...record,
        decisions: record.decisions.map((one) => ({ ...one, standingGrant: null })),
      },
    ],
    "more uses": ["its `terms` is not the grant's", terms({ uses: 50 })],
    "fewer uses than were made": ["is number 2, of 1", terms({ uses: 1 })],
    "a greater sum": ["its `terms` is not the grant's", terms({ sum: { argument: "amount_cents", max: 60_000 } })],
    "another target": ["is for other calls: `to`", terms({ targets: [{ argument: "to", is: "eve" }] })],
    "a longer time": ["`until` is", terms({ until: "2099-01-01T00:00:00.000Z" })],
    "over before it was used": ["and holds from", terms({ until: new Date(0).toISOString() })],
    "another agent": ["it is for another agent", terms({ agent: "other" })],
    "another tool": ["the tool is not the one", terms({ toolDigest: "0".repeat(64) })],
    "other requirements": ["its terms are malformed", terms({ requirements: [] })],
    "an approval left out": ["fewer people of the groups", grants((one) => ({ approvals: one.approvals.slice(1) }))],
    "an approval changed": [
      "the signature does not verify",
      approvals((one) => ({
        signature: Buffer.alloc(64).toString("base64"),
        reviewer: one.reviewer,
      })),
    ],
    "approvals by one person": ["fewer people of the groups", approvals(() => ({ person: "rita" }))],
    "an approval for another group": [
      "fewer people of the groups",
      approvals((_, place) => (place === 0 ? { groups: ["legal"] } : {})),
    ],
    "an approval by who asked": [
      "by who asked for the run",
      approvals((_, place) => (place === 0 ? { person: "operator" } : {})),
    ],
    "an approval at another time": ["rick's approval: it was at", approvals(() => ({ at: new Date(0).toISOString() }))],
    "a use left out": ["has 0 uses by it", grants((one) => ({ uses: one.uses.slice(1) }))],
    "a use made up": ["it is of another tool", grants((one) => ({ uses: [...one.uses, { ...one.uses[0], seq: 0 }] }))],
    "a use beyond the number": ["is number 6, of 5", uses((_, place) => (place === 1 ? { n: 6 } : {}))],
    "two uses with one number": ["use 1 was made twice", uses(() => ({ n: 1 }))],
    "a smaller amount": [
      "counted 1, the call has 7000",
      uses((_, place) => (place === 1 ? { amount: 1, total: 6_001 } : {})),
    ],
    "a smaller total": ["adds 7000, and comes to 6000", uses((_, place) => (place === 1 ? { total: 6_000 } : {}))],
    "a use at another time": ["at another time than it was decided", uses(() => ({ at: new Date().toISOString() }))],
    "a use by whom it was barred for": [
      "`rick` is the subject",
      uses(() => ({ barred: [{ person: "rick", because: "subject" }] })),
    ],
    "who was barred left out": ["`barred` is", uses(() => ({ barred: [] }))],
    "its proposal is not in the ledger": ["proposed 0 times", ledger(({ kind }) => kind !== "standing.proposed")],
    "an approval is not in the ledger": [
      "rick's approval is not in the ledger",
      ledger(({ facts }) => facts["reviewer"] !== "rick"),
    ],
    "nothing of it is in the ledger": ["before it was active", { ...record, ledger: { ...record.ledger, grants: [] } }],
    "its keys' enrolments left out": [
      "enrolled 0 times",
      {
        ...record,
        keys: { ...(record.keys as NonNullable<RunRecord["keys"]>), entries: [] },
      },
    ],
  };
  for (const [name, [problem, of]] of Object.entries(tampered))
    expect([name, faults(of).some((found) => found.includes(problem)), faults(of)]).toEqual([
      name,
      true,
      expect.anything(),
    ]);
}

function failed({ checks }: { readonly checks: readonly { readonly name: string; readonly status: string }[] }) {
  // Histories are sealed by a server that listens, a while after their end.
  return checks.filter(({ name, status }) => status !== "passed" && name !== "seals").map((one) => JSON.stringify(one));
}
