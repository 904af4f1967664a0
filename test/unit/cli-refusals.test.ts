import { execFileSync, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";

import { ApiError } from "../../src/api/index.ts";
import { exitCodeOf, reportOf } from "../../src/cli/cli-error.ts";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { unansweredText } from "../../src/cli/fork-text.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { launch } from "../e2e/program.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-refusals-"));
const at = (name: string) => join(folder, name);
const nobody = ["--url", "http://127.0.0.1:9", "--token", "t"];
const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";

beforeEach(() => {
  vi.stubEnv("COUNTERSIGN_HOME", at("home"));
  vi.stubEnv("DATABASE_URL", "");
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  process.exitCode = 0;
});
afterAll(() => rmSync(folder, { recursive: true }));

type Outcome = { readonly code: unknown; readonly said: string; readonly error: string };

/** The real commands, in this process. Nobody answers at the server's address. */
async function command(...argv: readonly string[]): Promise<Outcome> {
  const said: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => said.push(String(text)) > 0);
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
  try {
    await buildProgram().parseAsync(["node", "countersign", ...nobody, ...argv]);
    return { code: process.exitCode ?? 0, said: said.join(""), error: "" };
  } catch (error) {
    const { code, message, hint = "" } = reportOf(error);
    return { code: exitCodeOf(error), said: said.join(""), error: `${code}: ${message}; ${hint}` };
  } finally {
    vi.restoreAllMocks();
  }
}

function pack(name: string, files: Readonly<Record<string, string>>): string {
  mkdirSync(at(name));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(at(name), file), text);
  return at(name);
}

test("every problem of policies that cannot be read is shown with its place", async () => {
  const text = ["a", "b", "a", "c d"].map((id) => `@id("x/${id}")\npermit (principal, action, resource);`).join("\n");
  const dir = pack("broken", { "a.cedar": text, "b.cedar": "permit (" });
  const { code, said } = await command("policy", "check", dir);
  expect(code).toBe(1);
  expect(said.match(/^error: /gm)?.length).toBeGreaterThan(1);
  expect(said).toMatch(/a\.cedar:\d+:\d+: .*x\/a/);
  expect(said).toContain("b.cedar:1");
  const listed = JSON.parse((await command("policy", "check", dir, "--json")).said) as { problems: object[] };
  expect(listed.problems).toHaveLength(said.match(/^error: /gm)?.length ?? 0);
});

test.each<readonly [string, readonly string[], string]>([
  [
    "policies that are not there",
    ["policy", "check", at("nowhere")],
    `\`${at("nowhere")}\` cannot be read: it is not there`,
  ],
  ["the cut id of a key that is too short", ["keys", "confirm", "58a0", "--yes"], "usage: `58a0` is no key"],
  ["a key that is none", ["keys", "revoke", "nope", "--yes"], "usage: `nope` is no key"],
  ["a token that no header takes", ["run", "list", "--token", "日本"], "unauthenticated: the token has"],
  ["a token of two lines", ["run", "list", "--token", "secretABC\nb"], "unauthenticated: the token has"],
  ["a path in the place of a name", ["agent", "show", "../agents"], "invalid_request: `..` is no name of a team"],
  ["no name", ["agent", "show", "shop/"], "invalid_request: `` is no name of an agent"],
  ["two inputs", ["run", "start", "shop/a", "--input", "x", "--input-file", "y"], "not both"],
  [
    "a day that is not in the calendar",
    ["policy", "backtest", "policies/base", "--team", "shop", "--since", "2026-02-30"],
    "`2026-02-30` is no time",
  ],
  [
    "a diff since no time",
    ["policy", "diff", "policies/base", "policies/base", "--team", "shop", "--since", "yesterday"],
    "`yesterday` is no time",
  ],
  [
    "a budget of an agent's agent",
    ["budget", "set", "shop/a/b", "--month", "1"],
    "`shop/a/b` is neither TEAM nor TEAM/NAME",
  ],
  [
    "a budget of two periods",
    ["budget", "set", "shop", "--month", "1", "--period", "total"],
    "--period total is not what --month is for",
  ],
  ["a run of nothing", ["run", "start", "shop/a", "--input", " "], "usage: --input has nothing but spaces"],
  ["lifting what", ["unfreeze"], "usage: unfreeze what?"],
  [
    "a digest that is too short",
    ["policy", "activate", "--team", "shop", "--digest", "zz"],
    "`zz` is no digest: at least 8",
  ],
  [
    "people without a database",
    ["people", "list"],
    "environment: DATABASE_URL is not set, and there is no database in",
  ],
  ["a bundle where no folder can be", ["audit", "export", runId, "-o", "/proc/countersign/y"], "bundle_unwritable"],
  ["a folder without a bundle", ["verify", folder, "--trust", at("trust.json")], "bundle_unreadable"],
])("%s: refused with 2, nothing half said", async (_what, argv, expected) => {
  writeFileSync(at("trust.json"), '{"format":"countersign/trust/v1","logs":{},"approvers":[]}');
  const { code, said, error } = await command(...argv);
  expect(error).toContain(expected);
  expect(error).not.toContain("secretABC");
  expect({ code, said }).toEqual({ code: 2, said: "" });
});

test('an amount of which a shell left 00, as of "$100", is no limit of nothing', async () => {
  const said: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => said.push(String(text)) > 0);
  expect(await runCommandLine(["node", "countersign", "budget", "set", "shop", "--month", "00", "--json"])).toBe(2);
  expect(said.join("")).toContain("Expected an amount such as 100 or '$100', in single quotes.");
});

test("what the server says of its routes is said of commands", () => {
  const refused = new ApiError("invalid_request", "body `team`: no", {
    hint: "see /openapi.json for what the route takes",
  });
  expect(reportOf(refused)).toMatchObject({
    message: "body `team`: no",
    hint: expect.stringContaining("--help") as string,
  });
});

const permit = '@id("a")\npermit (principal, action, resource);';
const tools = "v: 1\ntools: [{ name: pay, effect: write }]\n";

test.each<readonly [string, Readonly<Record<string, string>>, string]>([
  ["rates.yml", { "rates.yml": "v: 1" }, "error: rates.yml: is not read under this name: call it rates.yaml"],
  ["Cases.YAML", { "Cases.YAML": "v: 1" }, "error: Cases.YAML: is not read under this name: call it cases.yaml"],
  ["b.CEDAR", { "b.CEDAR": permit }, "error: b.CEDAR: is not read under this name: call it b.cedar"],
  ["no YAML", { "cases.yaml": "v: 1\ncases: [\n- { a: b }\n- [" }, "error: cases.yaml:3:1: "],
  ["nothing", { "cases.yaml": "# none yet" }, "error: cases.yaml:1:1: the file is empty"],
  [
    "a misspelt field",
    { "cases.yaml": "v: 1\ncases:\n  - { name: x, tol: pay, expect: { outcome: deny } }" },
    "error: cases.yaml:3:16: cases.0.tol: is not a field here; did you mean `tool`?",
  ],
  [
    "a misspelt tool",
    { "cases.yaml": `${tools}cases: [{ name: x, tool: pya, expect: { outcome: deny } }]` },
    "error: cases.yaml:3:26: cases.0.tool: the file describes no tool `pya`; did you mean `pay`?",
  ],
  [
    "a misspelt fact",
    {
      "cases.yaml": `${tools}cases: [{ name: x, tool: pay, facts: { history: { pays: 1 } }, expect: { outcome: deny } }]`,
    },
    "error: cases.yaml:3:57: cases.0.facts.history.pays: the pack counts no fact `pays`",
  ],
  [
    "a rate of no tool",
    {
      "rates.yaml": "v: 1\nrates:\n  tool/pya: { at_most: 1, within: 1h, per: run }",
      "cases.yaml": `${tools}cases: []`,
    },
    "error: rates.yaml:3:3: policy rate/tool/pya: ",
  ],
])("policy check tells where a pack is wrong: %s", async (_what, files, expected) => {
  const { code, said } = await command("policy", "check", pack(randomUUID(), { "a.cedar": permit, ...files }));
  expect(said).toContain(expected);
  expect(code).toBe(1);
});

test("what lies in a pack and cannot be read is told, and waited for by nobody", async () => {
  const dir = pack("odd", { "a.cedar": permit });
  mkdirSync(join(dir, "below"));
  writeFileSync(join(dir, "below", "b.cedar"), permit);
  expect((await command("policy", "check", dir)).said).toContain("warning: below: its policies are not read");
  // Node makes no pipes.
  execFileSync("/usr/bin/env", ["mkfifo", join(dir, "pipe.cedar")]);
  expect(await command("policy", "check", dir)).toMatchObject({
    code: 2,
    error: expect.stringContaining("pipe.cedar: it is no file") as string,
  });
});

test("policy test tells at its line why a case fails, and which test nothing", async () => {
  const cases = [
    "{ name: free, tool: pay, expect: { outcome: allow, policies: [aa] } }",
    "{ name: held, tool: pay, expect: { outcome: deny } }",
    "{ name: odd, tool: pay, arguments: { x: 1 }, approved: [{ policy: b, group: g, approvals: 1 }], expect: { outcome: deny } }",
  ];
  const dir = pack("doubtful", {
    "a.cedar": permit,
    "cases.yaml": `${tools}cases:\n${cases.map((one) => `- ${one}\n`).join("")}`,
  });
  const { code, said } = await command("policy", "test", dir);
  expect(code).toBe(1);
  expect(said.split("\n")).toEqual([
    "failed: cases.yaml:4: free",
    "  expected policies aa, got a",
    "  the pack has no policy aa; did you mean a?",
    "  line 5 asks the same, and expects deny: held",
    "failed: cases.yaml:5: held",
    "  expected outcome deny, got allow",
    "  line 4 asks the same, and expects allow: free",
    expect.stringMatching(/^warning: cases\.yaml:6: odd: the pack has no policy b/),
    expect.stringMatching(
      /^warning: cases\.yaml:6: odd: denied because it cannot be decided \(.+\): say `code: undecidable`/,
    ),
    "1 passed, 2 failed",
    "100 % of 1 policy is reached by a case",
    "",
  ]);
});

test("a pack without cases has not passed", async () => {
  const dir = pack("no-cases", { "a.cedar": '@id("a")\npermit (principal, action, resource);' });
  expect(await command("policy", "test", dir)).toMatchObject({
    code: 2,
    error: expect.stringContaining("nothing was tested") as string,
  });
});

test.each([
  ["garbage", "is not the URL of a Postgres database"],
  ["mysql://x/y", "is not the URL of a Postgres database"],
  ["postgres://127.0.0.1:9/x", "postgres does not answer at `127.0.0.1:9/x`"],
])("DATABASE_URL=%s is told as what it is", async (url, expected) => {
  vi.stubEnv("DATABASE_URL", url);
  const { code, error } = await command("people", "list");
  expect(error).toMatch(/^postgres_unreachable: /);
  expect(error).toContain(expected);
  expect(code).toBe(2);
});

test.each([
  ["an alias", "*"],
  ["a field", `runs: [${runId}]\n`],
])("a case that is no text is told in one short line, where it reads as %s", async (_what, first) => {
  writeFileSync(at("bin.yaml"), `${first}${"ab\u0001\u009b".repeat(200)}${first === "*" ? "" : ": 1"}`);
  const { code, error } = await command("audit", "export", "-o", at("bundle"), "--case", at("bin.yaml"));
  expect(code).toBe(2);
  expect(error).toContain("bin.yaml");
  expect(error.length).toBeLessThan(600);
  expect(error).not.toMatch(/[^\P{Cc}\n]/u);
});

test("an export that is asked to end leaves nothing of what it has not finished", () => {
  const source = new URL("../../src/audit/export/bundle-folder.ts", import.meta.url).href;
  const script = `const { BundleFolder } = await import(${JSON.stringify(source)});
    for (const name of ["finished", "ended"]) {
      const folder = await BundleFolder.begin(${JSON.stringify(at("ends"))} + "/" + name, false);
      await folder.text("a/b.json", "{}");
      if (name === "finished") await folder.finish();
    }
    process.exit(143);`;
  expect(spawnSync(process.execPath, ["--input-type=module", "-e", script]).status).toBe(143);
  expect(readdirSync(at("ends"))).toEqual(["finished"]);
});

test("an export that is ended by Ctrl-C leaves no half bundle", async () => {
  // It is asked for the first run when its folder has been begun, and never answers.
  const server = createServer();
  const asked = once(server, "request");
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const place = at("interrupted");
  mkdirSync(place);
  const args = ["audit", "export", runId, "-o", join(place, "bundle"), "--url", url, "--token", "t"];
  const program = launch(args, { COUNTERSIGN_HOME: at("home") });
  try {
    await asked;
    expect(readdirSync(place)).toEqual([expect.stringMatching(/^bundle\.partial-/)]);
    program.kill("SIGINT");
    expect((await program.ended).code).toBe(130);
    expect(readdirSync(place)).toEqual([]);
  } finally {
    program.kill("SIGKILL");
    server.closeAllConnections();
    server.close();
  }
});

test("a fork whose model was not heard is no comparison", () => {
  const ended = (code: string) => ({ fork: { failure: { code, message: "status 404" } } }) as never;
  expect(unansweredText(ended("model_unavailable"))).toContain("status 404");
  expect(unansweredText(ended("budget_exceeded"))).toBeUndefined();
  expect(unansweredText({ fork: { failure: null } } as never)).toBeUndefined();
});
