import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const project = fileURLToPath(new URL("../../", import.meta.url));
let home: string;
let deadPort: number;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "countersign-cli-"));
  deadPort = await new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
});

afterAll(() => rmSync(home, { recursive: true, force: true }));

type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** The real program, in a process of its own, with a data directory and server address that nobody has. */
function countersign(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: project,
      env: {
        PATH: process.env["PATH"],
        COUNTERSIGN_HOME: home,
        COUNTERSIGN_URL: `http://127.0.0.1:${deadPort}`,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

const errorIn = (outcome: Outcome) =>
  (JSON.parse(outcome.stdout) as { error: { code: string; message: string; hint?: string } }).error;

test("a misspelt command is answered with the right one", async () => {
  const outcome = await countersign(["agent", "lst"]);
  expect(outcome.code).toBe(2);
  expect(outcome.stderr).toContain("Did you mean list?");
  expect(outcome.stdout).toBe("");
});

test("without a server: what happened, and what to do", async () => {
  const outcome = await countersign(["agent", "list"]);
  expect(outcome.code).toBe(2);
  expect(outcome.stderr).toContain(`no Countersign server answers at http://127.0.0.1:${deadPort}`);
  expect(outcome.stderr).toContain("is `npm start` running?");
});

test("with --json an error is the one document on stdout", async () => {
  const outcome = await countersign(["run", "list", "--json"]);
  expect(outcome.code).toBe(2);
  expect(errorIn(outcome)).toMatchObject({
    code: "server_unreachable",
    hint: expect.stringContaining("npm start") as string,
  });
  expect(outcome.stderr).toBe("");
  const usage = await countersign(["run", "strat", "--json"]);
  expect(usage.code).toBe(2);
  expect(errorIn(usage)).toMatchObject({ code: "usage", message: expect.stringContaining("strat") as string });
});

test("a bad manifest is refused at file, line and column, before any server is asked", async () => {
  const file = join(home, "bad.yaml");
  writeFileSync(file, "name: support\nteam: shop\nuseCase: x\nriskTier: huge\nmodel: { name: m }\nprompt: hi\n");
  const outcome = await countersign(["agent", "register", file]);
  expect(outcome.code).toBe(2);
  expect(outcome.stderr).toContain(`${file}:4:11: riskTier`);
});

test("tools outside the roots are not loaded, and what is not there is said to be missing", async () => {
  const file = join(home, "outside.yaml");
  writeFileSync(join(home, "tools.ts"), "throw new Error('loaded');\n");
  writeFileSync(
    file,
    "name: a\nteam: b\nuseCase: x\nriskTier: limited\nmodel: { name: m }\nprompt: hi\ntools:\n  - module: ./tools.ts\n",
  );
  const outcome = await countersign(["agent", "register", file, "--json"]);
  expect(outcome.code).toBe(2);
  expect(errorIn(outcome)).toMatchObject({ code: "module_outside_roots" });
  expect(errorIn(await countersign(["agent", "register", join(home, "none.yaml"), "--json"]))).toMatchObject({
    code: "file_unreadable",
  });
});

test("policies are tested and checked without a server; failures end in 1", async () => {
  const good = await countersign(["policy", "test", "policies/base"]);
  expect(good).toMatchObject({ code: 0, stdout: expect.stringMatching(/[1-9]\d* passed, 0 failed/) as string });
  const pack = mkdtempSync(join(home, "pack-"));
  writeFileSync(
    join(pack, "a.cedar"),
    '@id("a")\npermit (principal, action == Action::"model", resource);\n\n@id("b")\npermit (principal, action == Action::"tool/nope", resource);\n',
  );
  writeFileSync(
    join(pack, "cases.yaml"),
    "v: 1\ncases:\n  - name: models are denied\n    model: m\n    expect: { outcome: deny }\n",
  );
  const checked = await countersign(["policy", "check", pack]);
  expect(checked.code).toBe(1);
  expect(checked.stdout).toContain("a.cedar:5");
  writeFileSync(join(pack, "a.cedar"), '@id("a")\npermit (principal, action == Action::"model", resource);\n');
  const failed = await countersign(["policy", "test", pack]);
  expect(failed).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("expected outcome deny, got allow") as string,
  });
});

test.each([
  ["run start without an input", ["run", "start", "shop/support"], "--input"],
  [
    "a run on behalf of an address only",
    ["run", "start", "shop/support", "--input", "x", "--subject-email", "a@b.example"],
    "--subject-id",
  ],
  ["a tag without a value", ["run", "start", "shop/support", "--input", "x", "--tag", "ticket"], "key=value"],
  ["an unknown status", ["run", "list", "--status", "done"], "Allowed choices"],
  ["an unknown suite", ["run", "start", "--dojo", "chess/user_task_1"], "chess"],
  ["a server that is no URL", ["run", "list", "--url", "not a url"], "not a URL"],
  ["migrate without a database", ["migrate"], "DATABASE_URL"],
  ["server without Temporal", ["server"], "DATABASE_URL"],
])("%s ends in 2 and names what is missing", async (_what, args, expected) => {
  const outcome = await countersign(args);
  expect(outcome.code).toBe(2);
  expect(outcome.stderr).toContain(expected);
});

test("doctor says what to do, one line each, and does not make the data directory", async () => {
  const elsewhere = join(home, "not-there");
  const outcome = await countersign(["doctor", "--json"], {
    COUNTERSIGN_HOME: elsewhere,
    TEMPORAL_ADDRESS: `127.0.0.1:${deadPort}`,
  });
  expect(outcome.code).toBe(2);
  const { findings } = JSON.parse(outcome.stdout) as { findings: { name: string; status: string; todo?: string }[] };
  const found = Object.fromEntries(findings.map((finding) => [finding.name, finding.status]));
  expect(found).toMatchObject({
    node: "ok",
    disk: "ok",
    temporal: "failed",
    server: "warning",
    "key ledger.pem": "warning",
  });
  for (const finding of findings)
    expect(finding.status === "ok" || finding.todo !== undefined, finding.name).toBe(true);
  expect(() => rmSync(elsewhere)).toThrow("ENOENT");
});

test("the command line starts without the rooms that its actions need", async () => {
  const program = new URL("../../src/cli/program.ts", import.meta.url).href;
  const script = `const loaded = [];
    require("node:module").registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    import(${JSON.stringify(program)}).then(({ buildProgram }) => { buildProgram(); console.log(JSON.stringify(loaded)); });`;
  const { stdout } = await promisify(execFile)(process.execPath, ["-e", script]);
  const loaded = JSON.parse(stdout) as string[];
  const heavy =
    /\/node_modules\/(@temporalio|pg|@cedar-policy|fastify)\/|\/src\/(audit|gate|policy|server|temporal|dev)\//;
  expect(loaded.filter((url) => heavy.test(url))).toEqual([]);
  expect(loaded).toContain(program);
});

test("help lists every group", async () => {
  const { code, stdout } = await countersign(["--help"]);
  expect(code).toBe(0);
  for (const group of ["agent", "run", "approvals", "policy", "ledger", "audit", "doctor", "migrate", "server"]) {
    expect(stdout).toMatch(new RegExp(`^  ${group}\\b`, "m"));
  }
});
