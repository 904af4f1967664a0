import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { exportBundle } from "../../src/audit/index.ts";
import type { ForkReport } from "../../src/audit/index.ts";
import type { OfflineReport } from "../../src/audit/offline/index.ts";
import { evidenceSource } from "../../src/cli/evidence-source.ts";
import { registerExample, startExampleRun } from "../../src/cli/example.ts";
import type { RunId } from "../../src/core/ids.ts";
import { createPool } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";
import { countersign, documentOf, errorIn, runInto } from "./program.ts";
import type { Outcome } from "./program.ts";
import { startRunningStack } from "./running-stack.ts";
import type { RunningStack } from "./running-stack.ts";

const hostile = `<script>alert("x")</script> & \u202Eevil`;
let stack: RunningStack;
let folder: string;
let run: RunId;
let pool: Pool;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "countersign-commands-"));
  stack = await startRunningStack();
  pool = createPool({ url: stack.databaseUrl });
  await registerExample(stack.operator);
  run = await startExampleRun(stack.operator, `Please refund $12.00 for order A-1001, ${hostile}`);
  while ((await stack.operator.showRun({ params: { run } })).run.closedAt === null) await sleep(100);
});
afterAll(async () => {
  await pool.end();
  await stack.stop();
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
const command = (...args: readonly string[]): Promise<Outcome> => commandIn({}, ...args);
function commandIn(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Outcome> {
  const { token } = stack.cli().cli.connection;
  return countersign([...args, "--json"], {
    ...env,
    COUNTERSIGN_HOME: stack.home,
    COUNTERSIGN_URL: stack.url,
    COUNTERSIGN_TOKEN: token ?? "",
  });
}
/** Without a server, a token or a data directory. */
const outsider = (...args: readonly string[]): Promise<Outcome> =>
  countersign([...args, "--json"], { COUNTERSIGN_HOME: at("nowhere"), COUNTERSIGN_URL: "http://127.0.0.1:9" });

test("an outsider verifies what the commands export, and gets 0, 1 and 2", async () => {
  const trust = at("keys/trust.json");
  expect((await command("audit", "trust", "init", "-o", trust)).code).toBe(0);
  expect(errorIn(await command("audit", "trust", "init", "-o", trust)).code).toBe("usage");
  writeFileSync(at("case.yaml"), `id: C-7\ntitle: ${JSON.stringify(hostile)}\nruns: [${run}]\n`);
  const exported = await command("audit", "export", "--case", at("case.yaml"), "-o", at("bundle"), "--payloads");
  expect(documentOf(exported)).toMatchObject({ directory: at("bundle"), runs: 1, contents: "included" });
  expect(statSync(at("bundle")).mode & 0o777).toBe(0o700);

  const verified = await outsider("verify", at("bundle"), "--trust", trust);
  expect(documentOf<OfflineReport>(verified).verdict).toBe("verified");
  expect(verified.code).toBe(0);

  const required = at("required.json");
  writeFileSync(required, JSON.stringify({ ...JSON.parse(readFileSync(trust, "utf8")), require: ["pinned"] }));
  expect((await outsider("verify", at("bundle"), "--trust", required)).code).toBe(2);

  writeFileSync(at("bundle/logs/shop/checkpoint"), "x");
  const refuted = await outsider("verify", at("bundle"), "--trust", trust);
  expect(documentOf<OfflineReport>(refuted).verdict).toBe("refuted");
  expect(refuted.code).toBe(1);
  expect(errorIn(await outsider("verify", at("nothing-here"), "--trust", trust)).code).toBe("bundle_unreadable");
  expect(errorIn(await outsider("verify", at("bundle"), "--trust", at("case.yaml"))).code).toBe("trust_unreadable");
});

test("the exit code is that of the work, whether or not somebody reads the output; a full disk is told", async () => {
  const trust = at("keys/trust.json");
  await command("audit", "export", run, "-o", at("sound"), "--payloads");
  cpSync(at("sound"), at("unsound"), { recursive: true });
  writeFileSync(at("unsound/logs/shop/checkpoint"), "x");
  const full = openSync("/dev/full", "w");
  for (const [program, ...verify] of [["src/cli/main.ts", "verify"], ["src/audit/offline/main.ts"]] as const) {
    const verified = (stdout: number | "unread", bundle: string) =>
      runInto(stdout, program, [...verify, at(bundle), "--trust", trust], { COUNTERSIGN_HOME: at("nowhere") });
    expect(await verified("unread", "sound")).toEqual({ code: 0, stderr: "" });
    expect(await verified("unread", "unsound")).toEqual({ code: 1, stderr: "" });
    expect(await verified(full, "sound")).toEqual({ code: 2, stderr: expect.stringContaining("no space left") });
  }
  closeSync(full);
});

test("what `ledger checkpoint` prints is what is kept; a file that is no checkpoint refutes nothing", async () => {
  const trust = at("keys/trust.json");
  const { token } = stack.cli().cli.connection;
  const env = { COUNTERSIGN_HOME: stack.home, COUNTERSIGN_URL: stack.url, COUNTERSIGN_TOKEN: token ?? "" };
  const printed = await countersign(["ledger", "checkpoint", "--log", "shop"], env);
  expect(printed).toMatchObject({ code: 0, stderr: expect.stringContaining("signature verified") });
  writeFileSync(at("kept"), printed.stdout);
  expect(await command("audit", "verify", "--log", "shop", "--pinned", at("kept"))).toMatchObject({ code: 0 });
  expect(await command("audit", "export", run, "-o", at("pinned"), "--pinned", at("kept"))).toMatchObject({ code: 0 });
  const verified = await outsider("verify", at("pinned"), "--trust", trust, "--pinned", at("kept"));
  expect(documentOf<OfflineReport>(verified)).toMatchObject({
    proven: expect.arrayContaining([expect.stringContaining("pinned: shop")]),
  });
  for (const refused of [
    ["audit", "verify", "--log", "shop"],
    ["audit", "export", run, "-o", at("unpinned")],
    ["verify", at("pinned"), "--trust", trust],
  ]) {
    const outcome = await command(...refused, "--pinned", trust);
    expect([outcome.code, errorIn(outcome).code]).toEqual([2, "pin_unreadable"]);
  }
});

/** Readings that the log has, once it has all that happened so far: an entry is recorded with what it tells, and sequenced later. */
async function reads() {
  await expect.poll(async () => (await pool.query("select from ledger_outbox")).rowCount, { timeout: 30_000 }).toBe(0);
  const { entries } = await stack.operator.entries({ params: { log: "shop" }, query: { limit: 1_000 } });
  return entries.map(({ leaf }) => JSON.parse(leaf)).filter(({ kind }) => kind === "audit.read");
}

test("each reading of contents is in the ledger, with who read; evidence without contents is no such reading", async () => {
  const before = (await reads()).length;
  await command("audit", "export", run, "-o", at("withheld"));
  expect(await reads()).toHaveLength(before);
  expect(readdirSync(at("withheld"))).not.toContain("payloads");
  expect(readFileSync(at("withheld/report.html"), "utf8")).not.toContain("refund $12.00");
  await command("audit", "export", run, "-o", at("with"), "--payloads");
  const after = await reads();
  expect(after).toHaveLength(before + 1);
  const { principal } = { principal: (await stack.operator.whoAmI({})).id };
  expect(after.at(-1).facts).toEqual({ run, by: principal, what: "record" });
});

test("a fork is told and written down, is no run of the server's, and leaves nothing behind", async () => {
  const count = async () => [(await stack.operator.listRuns({ query: {} })).runs.length, (await reads()).length];
  const [runs, read] = await count();
  const temporary = mkdtempSync(join(tmpdir(), "countersign-forks-"));
  chmodSync(temporary, 0o755);
  const fork = (...args: readonly string[]) => commandIn({ TMPDIR: temporary }, "audit", "fork", run, ...args);
  const forked = await fork("--at", "2", "--effects", "recorded", "-o", at("fork.json"));
  const report = documentOf<ForkReport>(forked);
  expect(forked.code).toBe(0);
  expect(report).toMatchObject({ run, counts: { changed: 0, added: 0, missing: 0 }, outcome: { same: true } });
  expect(report.wouldAct.map(({ name }) => name)).toContain("refund");
  expect(JSON.parse(readFileSync(at("fork.json"), "utf8"))).toEqual(report);
  expect(statSync(at("fork.json")).mode & 0o777).toBe(0o600);
  expect(errorIn(await fork("--at", "2", "-o", at("fork.json"))).code).toBe("usage");
  const priceless = await fork("--at", "2", "--with", "model=nobody/knows");
  expect([priceless.code, errorIn(priceless).code]).toEqual([1, "fork_refused"]);
  expect(readdirSync(temporary)).toEqual([]);
  rmSync(temporary, { recursive: true });
  expect(await count()).toEqual([runs, (read ?? 0) + 2]);
});

test("the page runs nothing, loads nothing, and shows what others wrote as text", async () => {
  const { directory } = await exportBundle(evidenceSource(stack.operator), {
    runs: [run],
    directory: at("page"),
    force: false,
    contents: true,
    wholeLogs: false,
    code: false,
    about: { title: hostile, note: `"><img src=x onerror=alert(1)>` },
    pinned: [],
    generator: { name: "<b>", version: "'" },
    now: new Date(),
    onProgress: () => undefined,
  });
  const page = readFileSync(join(directory, "report.html"), "utf8");
  const style = /<style>([^]*?)<\/style>/.exec(page)?.[1] ?? "";
  const hash = createHash("sha256").update(style).digest("base64");
  expect(page).toContain(`content="default-src &#39;none&#39;; style-src &#39;sha256-${hash}&#39;; base-uri`);
  const tags = new Set([...page.matchAll(/<\/?([a-z0-9]+)/gi)].map((match) => match[1]));
  for (const tag of ["script", "img", "b", "a", "iframe", "link", "form"]) expect(tags).not.toContain(tag);
  expect(page).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; \\u{202e}evil");
  expect(page).not.toMatch(/[\u202A-\u202E]/);
});

test("a bundle appears whole or not at all, and replaces nothing but a bundle", async () => {
  const bundle = at("once");
  expect((await command("audit", "export", run, "-o", bundle)).code).toBe(0);
  expect(errorIn(await command("audit", "export", run, "-o", bundle)).code).toBe("bundle_exists");
  expect((await command("audit", "export", run, "-o", bundle, "--force")).code).toBe(0);
  writeFileSync(at("precious"), "x");
  expect(errorIn(await command("audit", "export", run, "-o", at("precious"), "--force")).code).toBe("bundle_exists");
  expect(readFileSync(at("precious"), "utf8")).toBe("x");
  const lost: RunId = `run_${"0".repeat(26)}` as RunId;
  expect(errorIn(await command("audit", "export", run, lost, "-o", at("half"))).code).toBe("run_not_found");
  expect(existsSync(at("half"))).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes(".partial-") || name.includes(".old-"))).toEqual([]);
  // What exports left that were killed goes with the next one to the same place; what is at work stays.
  const left = 2 ** 31 - 1;
  const machine = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
  const named = (what: string, by: string | number) => `${what}-${machine}-${by}-0123abcd`;
  const dead = [`once.${named("partial", left)}`, `once.${named("old", left)}`];
  const living = [`once.${named("partial", process.pid)}`, `once.other.${named("partial", left)}`];
  for (const name of [...dead, ...living]) cpSync(bundle, at(name), { recursive: true });
  writeFileSync(at("nobody.json"), JSON.stringify({ format: "countersign/trust/v1", logs: {}, approvers: [] }));
  expect(errorIn(await command("verify", at(dead[0]!), "--trust", at("nobody.json"))).code).toBe("bundle_unreadable");
  expect((await command("audit", "export", run, "-o", bundle, "--force")).code).toBe(0);
  expect([...dead, ...living].filter((name) => existsSync(at(name)))).toEqual(living);
  expect(errorIn(await command("audit", "export", "-o", at("what"))).code).toBe("usage");
  expect(errorIn(await command("audit", "export", "--since", "2099-01-01", "-o", at("what"))).code).toBe("usage");
  expect(
    (await command("audit", "export", "--since", "2020-01-01", "--agent", "shop/support", "-o", at("since"))).code,
  ).toBe(0);
});
