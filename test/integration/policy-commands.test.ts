import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createClient } from "../../src/api/index.ts";
import type { BacktestReportView } from "../../src/api/index.ts";
import { backtest } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Release } from "../../src/core/release.ts";
import { createSigner } from "../../src/ledger/index.ts";
import { policySetOf } from "../../src/policy/index.ts";
import {
  activeShadow,
  addShadowCounts,
  hashToken,
  moveChannel,
  newToken,
  putPrincipal,
  registerRelease,
  releaseOfDocument,
} from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { payloadKeysOf } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";
import { newRunId, recordRuns } from "../support/recorded-runs.ts";
import type { RecordedCall } from "../support/recorded-runs.ts";
import { document, tool } from "../support/test-records.ts";

const project = fileURLToPath(new URL("../../", import.meta.url));
const keys = payloadKeysOf(new Uint8Array(32).fill(7));
const signerOf = (log: string) => createSigner(`localhost/ledger/${log}`, new Uint8Array(32).fill(9));
const engine = { histories: async () => [], isReachable: async () => true } as unknown as RunEngine;
const people = ["operator", "auditor", "ada", "bob", "eve", "admin"] as const;
const tokens = Object.fromEntries(people.map((name) => [name, newToken()])) as Record<(typeof people)[number], string>;

const pay = 'principal, action == Action::"tool/pay", resource';
const reads = '@id("read") permit (principal, action in [Action::"model", Action::"effect/read"], resource);';
const permit = `@id("pay") permit (${pay});`;
const held =
  '@decision("require_approval") @group("treasury") @quorum("2") @expires("1h") @reason("large payments need people")';
const activeText = [
  reads,
  permit,
  `@id("ask") ${held} forbid (${pay}) when { context.input.amount > 50 };`,
  `@id("limit") @reason("never above 500") forbid (${pay}) when { context.input.amount > 500 };`,
].join("\n");
const setOf = (text: string) => policySetOf([{ name: "a.cedar", text }]).document;

let database: TestDatabase;
let home: string;
let url: string;
let release: Release;
let stop: () => Promise<void>;
const runs: RunId[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  home = await mkdtemp(join(tmpdir(), "countersign-policy-"));
  const { pool } = database;
  for (const id of people) {
    const roles =
      id === "admin"
        ? (["admin"] as const)
        : id === "auditor"
          ? (["auditor"] as const)
          : (["operator", "auditor"] as const);
    const groups = id === "ada" || id === "bob" ? ["policy-owners"] : [];
    await putPrincipal(pool, { id, displayName: id, roles, groups }, hashToken(tokens[id]));
  }
  const pay = tool("pay", "write");
  const tools = [tool("look"), { ...pay, parameters: { ...pay.parameters, required: ["amount"] } }];
  const limits = { maxSteps: 100, maxCostMicroUsd: 1_000, maxWallClockMs: 60_000 };
  release = releaseOfDocument(document({ tools, limits }));
  await registerRelease(pool, release, "operator", new Date());
  const move = { team: "shop", agent: "support", channel: "production", release: release.digest } as const;
  await moveChannel(pool, { ...move, by: "operator", reason: "test", now: new Date() });
  const calls = (...amounts: number[]): RecordedCall[] => [
    { tool: "look", args: {} },
    ...amounts.map((amount) => ({ tool: "pay", args: { amount } })),
  ];
  const recorded = [
    { id: newRunId(), calls: calls(10, 20, 30, 60, 600), at: new Date("2026-01-01T00:00:00Z") },
    { id: newRunId(), calls: calls(40, 45), at: new Date("2026-06-01T00:00:00Z") },
  ];
  runs.push(...recorded.map(({ id }) => id));
  await recordRuns(pool, keys, release, setOf(activeText), recorded);
  const server = createServer(
    {
      pool,
      databaseUrl: database.url,
      keys,
      temporal: undefined as never,
      taskQueue: "none",
      ledger: { originOf: (log) => `localhost/ledger/${log}`, signerOf },
      logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
    },
    engine,
  );
  ({ url } = await server.start(0));
  stop = () => server.stop();
});

afterAll(async () => {
  await stop();
  await database.close();
  await rm(home, { recursive: true, force: true });
});

type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string; readonly json: never };

/** The real program, in a process of its own. */
function countersign(args: readonly string[], as: keyof typeof tokens = "operator"): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(project, "src/cli/main.ts"), "policy", ...args], {
      cwd: project,
      env: { PATH: "/nowhere", COUNTERSIGN_HOME: home, COUNTERSIGN_URL: url, COUNTERSIGN_TOKEN: tokens[as] },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => {
      const json = (args.includes("--json") && stdout !== "" ? JSON.parse(stdout) : undefined) as never;
      resolve({ code, stdout, stderr, json });
    });
  });
}

async function packOf(text: string, files: Record<string, string> = {}): Promise<string> {
  const pack = await mkdtemp(join(home, "pack-"));
  await writeFile(join(pack, "a.cedar"), text);
  for (const [name, content] of Object.entries(files)) await writeFile(join(pack, name), content);
  return pack;
}

async function backtested(
  text: string,
  files: Record<string, string> = {},
  ...more: string[]
): Promise<BacktestReportView> {
  const outcome = await countersign(["backtest", await packOf(text, files), "--team", "shop", "--json", ...more]);
  expect(outcome.stderr).not.toContain("error");
  expect(outcome.code).toBe(0);
  return outcome.json;
}

const unchanged = { newly_denied: 0, newly_gated: 0, newly_allowed: 0, altered: 0 };

describe("policy backtest", () => {
  test("the set that decided changes nothing", async () => {
    expect(await backtested(activeText)).toMatchObject({
      decisions: 18,
      runs: 2,
      counts: { ...unchanged, unchanged: 18 },
      lost: 0,
      byTheGate: 0,
      examples: [],
    });
  });

  test("a candidate's changes are counted, put down to policies and shown", async () => {
    const text = [
      reads,
      permit,
      `@id("ask") ${held} forbid (${pay}) when { context.input.amount > 25 };`,
      `@id("limit") forbid (${pay}) when { context.input.amount > 700 };`,
      `@id("never") forbid (${pay}) when { context.input.amount == 60 };`,
    ].join("\n");
    const report = await backtested(text);
    // 30, 40, 45 and 600 (which was denied) are held back now; 60 was, and is denied.
    expect(report.counts).toEqual({ ...unchanged, newly_gated: 4, newly_denied: 1, unchanged: 13 });
    expect(report.causes).toEqual([
      { kind: "newly_gated", policy: "ask", count: 4 },
      { kind: "newly_denied", policy: "never", count: 1 },
    ]);
    expect(report.examples).toContainEqual({
      kind: "newly_denied",
      run: runs[0],
      seq: 9,
      n: 0,
      name: "pay",
      from: { outcome: "require_approval", policies: ["ask"] },
      to: { outcome: "deny", policies: ["never"] },
    });
  });

  test("--since looks at later decisions only", async () => {
    const report = await backtested(`${reads}`, {}, "--since", "2026-03-01");
    expect(report).toMatchObject({ decisions: 6, runs: 1, counts: { newly_denied: 2, unchanged: 4 } });
    expect(report.causes).toEqual([{ kind: "newly_denied", policy: "not_permitted", count: 2 }]);
  });

  test("what a candidate counts in a run is counted again; what it counts over a team is not, and said so", async () => {
    const history = (per: string) => ({
      "history.yaml": `v: 1\nfacts:\n  paid: { sum: amount, of: [tool/pay], per: ${per} }\n`,
    });
    const text = `${activeText}\n@id("sum") forbid (${pay}) when { context.history.paid > 25 };`;
    const report = await backtested(text, history("run"));
    // Paid before: 0, 10, 30, 60, 60 in one run, 0 and 40 in the other; those with 60 and 600 were held and denied.
    expect(report.lostBecause).toEqual({});
    expect(report.examples.map(({ run, seq }) => `${runs.indexOf(run)}/${seq}`).toSorted()).toEqual([
      "0/7",
      "0/9",
      "1/5",
    ]);
    const wide = await backtested(text, history("team"));
    expect(wide).toMatchObject({ lost: 7, counts: { ...unchanged, unchanged: 11 } });
    expect(Object.keys(wide.lostBecause)).toEqual([
      "fact paid was not counted then, and only facts per run are counted again",
    ]);
  });

  test("decisions whose contents are damaged, or whose facts are of an older version, are left out and counted", async () => {
    const { pool } = database;
    const old = { id: newRunId(), calls: [{ tool: "pay", args: { amount: 1 } }], at: new Date("2026-07-01T00:00:00Z") };
    const broken = {
      id: newRunId(),
      calls: [{ tool: "pay", args: { amount: 2 } }],
      at: new Date("2026-07-02T00:00:00Z"),
    };
    await recordRuns(pool, keys, release, setOf(activeText), [
      { ...old, calls: [{ ...old.calls[0]!, facts: { flow: {} as never } }] },
      broken,
    ]);
    await pool.query(
      "update payload set ciphertext = '\\x00112233445566778899aabbccddeeff0011' where digest = (select result from step where run = $1 and seq = 0)",
      [broken.id],
    );
    const report = await backtested(activeText, {}, "--since", "2026-07-01");
    expect(report).toMatchObject({ decisions: 4, lost: 3, counts: { unchanged: 1 } });
    expect(report.lostBecause).toEqual({
      "its facts were recorded by an older version": 2,
      "the call's arguments cannot be read": 1,
    });
    // A gate for nobody's policies would let everything through.
    const nobody = await countersign(["backtest", await packOf(activeText), "--team", "shpo", "--json"]);
    expect(nobody).toMatchObject({ code: 1, json: { error: { code: "agent_not_found" } } });
    const strict = await countersign(["backtest", await packOf(activeText), "--team", "shop", "--fail-on-change"]);
    expect(strict.code).toBe(1);
    expect(strict.stdout).toContain("not decided again");
  });

  test("one at a time in a server, and the next when it is done", async () => {
    const client = createClient({ baseUrl: url, token: tokens.operator });
    const call = { params: { team: "shop" }, body: { document: setOf(activeText) } };
    const report = async () => {
      for await (const event of client.backtest(call)) if (event.type === "report") return event.report.decisions;
      return undefined;
    };
    const ended = await Promise.allSettled(Array.from({ length: 6 }, report));
    const refused = ended.flatMap((one) => (one.status === "rejected" ? [(one.reason as { code: string }).code] : []));
    expect(new Set(refused)).toEqual(new Set(["backtest_running"]));
    expect(ended.some((one) => one.status === "fulfilled" && (one.value ?? 0) > 0)).toBe(true);
    expect(await report()).toBeGreaterThan(0);
  });

  test("stops when its caller goes away", async () => {
    const gone = new AbortController();
    const told: number[] = [];
    const options = { tx: database.pool, keys, signal: gone.signal };
    const pending = backtest(
      { team: "shop", candidate: setOf(activeText) },
      {
        ...options,
        onProgress(done) {
          told.push(done);
          gone.abort(new Error("gone"));
        },
      },
    );
    await expect(pending).rejects.toThrow("gone");
    expect(told).toEqual([0]);
  });

  test("an unknown time, a set that is none, and who may not", async () => {
    const pack = await packOf(activeText);
    expect((await countersign(["backtest", pack, "--team", "shop", "--since", "yesterday"])).code).toBe(2);
    expect((await countersign(["backtest", "No Such", "--team", "shop"])).code).toBe(2);
    expect((await countersign(["backtest", pack, "--team", "shop"], "auditor")).code).toBe(0);
  });
});

describe("policy explain", () => {
  test("what was held back: who is asked, which policies, which arguments", async () => {
    const { code, stdout } = await countersign(["explain", runs[0]!, "9"]);
    expect(code).toBe(0);
    expect(stdout).toContain("needs approval");
    expect(stdout).toContain("determined it: ask, large payments need people");
    expect(stdout).toContain("context.input.amount > 50");
    expect(stdout).toContain("permit pay: matched, and was outvoted");
    expect(stdout).toContain("forbid limit: did not match");
    expect(stdout).toContain("amount 60");
    // Each policy with what it went by, and every fact by the name that a policy has for it.
    expect(stdout).toMatch(/forbid limit: did not match\n {4}looks at context\.input\.amount = 60\n/);
    expect(stdout).toContain('  resource.requestedBy "');
    expect(stdout).toContain("  context.run.steps 9\n");
    expect(stdout).not.toContain("doubt");
  });

  test("what was denied for good, and what was allowed", async () => {
    const denied = await countersign(["explain", runs[0]!, "11", "--json"]);
    expect(denied.json).toMatchObject({
      outcome: "deny",
      code: "forbidden",
      arguments: { amount: 600 },
      needed: ["that limit does not apply (never above 500); nobody can lift it"],
      policies: [
        { policy: "limit", determined: true, matched: true, looksAt: [{ path: "context.input.amount", value: 600 }] },
        { policy: "ask", determined: false, matched: true },
        { policy: "pay", determined: false, matched: true },
      ],
      doubts: [],
    });
    const allowed = await countersign(["explain", runs[0]!, "3", "--json"]);
    expect(allowed.json).toMatchObject({ outcome: "allow", needed: [], doubts: [] });
  });

  test("a record that was tampered with is doubted; a step that is not there is refused", async () => {
    const id = newRunId();
    const at = new Date("2026-08-01T00:00:00Z");
    await recordRuns(database.pool, keys, release, setOf(activeText), [
      { id, at, calls: [{ tool: "pay", args: { amount: 5 } }] },
    ]);
    await database.pool.query("alter table decision disable trigger append_only");
    await database.pool.query("update decision set outcome = 'deny', code = 'forbidden' where run = $1 and seq = 1", [
      id,
    ]);
    await database.pool.query("alter table decision enable trigger append_only");
    const { json } = await countersign(["explain", id, "1", "--json"]);
    expect((json as { doubts: string[] }).doubts).toEqual([
      expect.stringContaining("outcome recorded deny, decided again allow"),
    ]);
    expect((await countersign(["explain", id, "99"])).code).toBe(2);
    expect((await countersign(["explain", id, "x"])).code).toBe(2);
  });
});

describe("policy diff", () => {
  test("policies, cases and recorded runs between a team's set and a pack", async () => {
    const cases =
      "v: 1\ntools:\n  - { name: look, effect: read }\n  - { name: pay, effect: write, parameters: { type: object, properties: { amount: { type: integer } }, required: [amount] } }\ncases:\n  - { name: pay 60, tool: pay, arguments: { amount: 60 }, expect: { outcome: deny } }\n  - { name: pay 5, tool: pay, arguments: { amount: 5 }, expect: { outcome: allow } }\n";
    const pack = await packOf(`${reads}\n${permit}\n@id("limit") forbid (${pay}) when { context.input.amount > 50 };`, {
      "cases.yaml": cases,
    });
    const args = ["diff", "shop", pack, "--since", "2026-01-01"];
    const { code, json } = await countersign([...args, "--json"]);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      policies: { added: [], removed: [{ id: "ask" }], changed: [{ id: "limit" }], unchanged: 2 },
      cases: [{ name: "pay 60", kind: "newly_denied", cause: "limit" }],
      decisions: { counts: { newly_denied: 1 } },
    });
    const said = await countersign(args);
    expect(said.stdout).toMatch(/^\+ @id\("limit"\)/m);
    expect(said.stdout).toContain("1 case is decided otherwise");
  });
});

describe("policy shadow", () => {
  test("a candidate is set, its counts are shown, and it is ended; the ledger hears of it", async () => {
    const { pool } = database;
    const pack = await packOf(`${activeText}\n@id("extra") forbid (${pay}) when { context.input.amount == 7 };`);
    expect((await countersign(["shadow", pack, "--team", "shop"])).code).toBe(0);
    const candidate = await activeShadow(pool, "shop");
    const counts = [{ kind: "newly_denied", policy: "extra", name: "pay", count: 3 }];
    await addShadowCounts(pool, candidate!.id, counts, new Date());
    await addShadowCounts(
      pool,
      candidate!.id,
      [...counts, { ...counts[0]!, kind: "unchanged", policy: "pay" }],
      new Date(),
    );
    const shown = await countersign(["shadow", "show", "--team", "shop", "--json"], "auditor");
    expect(shown.json).toMatchObject({
      shadow: { policySet: candidate!.policySet },
      counts: [
        { kind: "newly_denied", policy: "extra", name: "pay", count: 6 },
        { kind: "unchanged", count: 3 },
      ],
    });
    expect((await countersign(["shadow", "--off", "--team", "shop"])).code).toBe(0);
    expect(await activeShadow(pool, "shop")).toBeUndefined();
    const { rows } = await pool.query("select event from ledger_outbox where event like '%policy.shadowed%'");
    expect(rows).toHaveLength(2);
    expect(
      (
        await countersign([
          "shadow",
          await packOf('@id("x") permit (principal, action == Action::"tool/nope", resource);'),
          "--team",
          "shop",
        ])
      ).code,
    ).toBe(1);
  });
});

describe("policy activate, history, guard", () => {
  test("a guarded team's policies come into force only with the group's quorum, and nobody approves their own", async () => {
    const pack = await packOf(
      `${activeText}\n// another set\n@id("extra") forbid (${pay}) when { context.input.amount == 8 };`,
    );
    const approve = (id: number, as: keyof typeof tokens) =>
      countersign(["approve-activation", String(id), "--team", "shop", "--json"], as);
    const inForce = async () =>
      ((await countersign(["show", "shop", "--json"])).json as { policySet: string }).policySet;
    const before = await inForce();
    const guarded = await countersign(["guard", "shop", "--group", "policy-owners", "--quorum", "2", "--json"]);
    expect(guarded.json).toMatchObject({ guard: { quorum: 2 }, members: 2, voided: [] });
    const proposed = (await countersign(["activate", pack, "--team", "shop", "--json"], "ada")).json as {
      changed: boolean;
      policySet: string;
      pending: { id: number };
    };
    expect(proposed).toMatchObject({ changed: false, pending: { state: "open", quorum: 2, approvedBy: [] } });
    const { id } = proposed.pending;
    // The proposer, one who is not in the group, and an operator who would lift the guard.
    expect((await approve(id, "ada")).json).toMatchObject({ error: { code: "not_eligible" } });
    expect((await approve(id, "eve")).json).toMatchObject({ error: { code: "not_eligible" } });
    expect((await countersign(["guard", "shop", "--off", "--json"])).json).toMatchObject({
      error: { code: "forbidden" },
    });
    expect((await approve(id, "bob")).json).toMatchObject({ proposal: { state: "open", approvedBy: ["bob"] } });
    expect((await approve(id, "bob")).json).toMatchObject({ error: { code: "already_decided" } });
    expect(await inForce()).toBe(before);
    await putPrincipal(database.pool, { id: "eve", displayName: "eve", roles: ["auditor"], groups: ["policy-owners"] });
    expect((await approve(id, "eve")).json).toMatchObject({ proposal: { state: "in_force" } });
    expect(await inForce()).toBe(proposed.policySet);
    expect((await approve(id, "eve")).json).toMatchObject({ error: { code: "proposal_closed" } });

    // One that was proposed on what is no longer in force is void.
    const [stale, other] = [
      (
        (
          await countersign(
            [
              "activate",
              await packOf(`${activeText}\n${"// x"}\n@id("y") forbid (${pay}) when { context.input.amount == 1 };`),
              "--team",
              "shop",
              "--json",
            ],
            "ada",
          )
        ).json as { pending: { id: number } }
      ).pending.id,
      (
        (await countersign(["activate", "--digest", before.slice(0, 12), "--team", "shop", "--json"], "ada")).json as {
          pending: { id: number };
        }
      ).pending.id,
    ];
    await approve(other, "bob");
    await approve(other, "eve");
    expect(await inForce()).toBe(before);
    expect((await approve(stale, "bob")).json).toMatchObject({ error: { code: "proposal_closed" } });

    const dropped = (await countersign(["activate", pack, "--team", "shop", "--json"], "ada")).json as {
      pending: { id: number };
    };
    expect((await countersign(["guard", "shop", "--off", "--json"], "admin")).json).toMatchObject({
      guard: null,
      members: null,
      voided: [dropped.pending.id],
    });
    expect(
      (await countersign(["activate", "--digest", proposed.policySet, "--team", "shop", "--json"])).json,
    ).toMatchObject({ changed: true, pending: null });
    const history = (await countersign(["history", "shop", "--json"])).json as {
      activations: { policySet: string; proposal: number | null }[];
    };
    expect(history.activations.slice(0, 3).map(({ policySet, proposal }) => [policySet, proposal])).toEqual([
      [proposed.policySet, null],
      [before, other],
      [proposed.policySet, id],
    ]);
    const { rows } = await database.pool.query<{ kind: string; count: number }>(
      "select event::json ->> 'kind' as kind, count(*) as count from ledger_outbox where event like '%policy.%' group by 1 order by 1",
    );
    expect(Object.fromEntries(rows.map(({ kind, count }) => [kind, count]))).toMatchObject({
      "policy.proposed": 4,
      "policy.approved": 4,
      "policy.guarded": 2,
      "policy.activated": 3,
    });
  });

  test("a pack that does not fit is refused at its place; a team of nobody is told", async () => {
    const pack = await packOf(
      `${activeText}\n\n@id("typo")\nforbid (principal, action == Action::"tool/pya", resource);`,
    );
    for (const command of [["activate"], ["shadow"]]) {
      const { code, stderr } = await countersign([...command, pack, "--team", "shop"]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/error: a\.cedar:\d+:30: policy typo: unrecognized action/);
    }
    const free = await packOf('@id("m") permit (principal, action == Action::"model", resource);');
    const nobody = await countersign(["activate", free, "--team", "shpo"]);
    expect([nobody.code, nobody.stderr]).toEqual([0, expect.stringContaining("team shpo has no agents yet")]);
  });

  test("an activation warns of what looks wrong", async () => {
    const pack = await packOf(`${activeText}\n@id("late") permit (${pay}) when { false };`);
    const { code, stdout } = await countersign(["activate", pack, "--team", "shop"]);
    expect(code).toBe(0);
    expect(stdout).toContain("policy late: this permit never applies");
  });
});

describe("policy check and test", () => {
  test("warnings have place and hint; --strict makes them count; symcc is left out by name", async () => {
    const pack = await packOf(
      `@id("read") permit (principal, action == Action::"model", resource) when { context.maxOutputTokens < 9 };\n\n@id("open")\npermit (principal, action, resource);\n`,
    );
    const { code, stdout } = await countersign(["check", pack, "--symcc"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/warning: a\.cedar:3:1: policy open: permits everything/);
    expect(stdout).toContain("left out: cedar symcc: there is no `cedar` on the PATH");
    expect((await countersign(["check", pack, "--strict"])).code).toBe(1);
    expect((await countersign(["check", pack, "--json"])).json).toMatchObject({
      problems: [{ rule: "permits-everything", file: "a.cedar", line: 3, hint: expect.stringMatching(/./) as string }],
    });
  });

  test("coverage is a percentage, and too little of it fails", async () => {
    const cases = "v: 1\ncases:\n  - { name: a model call, model: m, expect: { outcome: allow } }\n";
    const pack = await packOf(
      `${reads}\n@id("more") permit (principal, action in Action::"effect/write", resource);\n@id("third") forbid (principal, action == Action::"model", resource) when { context.maxOutputTokens > 9000 };`,
      { "cases.yaml": cases },
    );
    const { code, json } = await countersign(["test", pack, "--json"]);
    expect(code).toBe(0);
    expect(json).toMatchObject({ coverage: { percent: 33.3, policies: 3, reached: 1 }, uncovered: ["more", "third"] });
    expect((await countersign(["test", pack, "--min-coverage", "33"])).code).toBe(0);
    expect((await countersign(["test", pack, "--min-coverage", "34"])).code).toBe(1);
    expect((await countersign(["test", pack, "--min-coverage", "all"])).code).toBe(2);
  });
});
