import { generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestContext } from "vitest";

import { registerExample, startExampleRun } from "../../src/cli/example.ts";
import { createPool } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";
import { countersign, createTestHome, errorIn } from "./program.ts";
import type { TestHome } from "./program.ts";
import { startRunningStack } from "./running-stack.ts";
import type { RunningStack } from "./running-stack.ts";

// What needs no server at all is in test/unit/cli-commands.test.ts.
let stack: RunningStack;
let pool: Pool;
let files: TestHome;
let database: TestDatabase;
let waiting = { run: "", approval: "" };

beforeAll(async () => {
  [stack, files, database] = await Promise.all([startRunningStack(), createTestHome(), freshDatabase()]);
  pool = createPool({ url: stack.databaseUrl, max: 2 });
  await registerExample(stack.operator);
  const run = await startExampleRun(stack.operator, "I want my money back for order A-1002, the grinder is faulty.");
  for (let approval = ""; approval === "";) {
    approval = (await stack.operator.showRun({ params: { run } })).approvals[0]?.id ?? "";
    waiting = { run, approval };
  }
  // The ledger takes up what the run did a little later.
  for (let before = {}, now = await rows(); JSON.stringify(before) !== JSON.stringify(now); now = await rows()) {
    before = now;
    await sleep(700);
  }
});
afterAll(async () => {
  await pool.end();
  await stack.stop();
  await Promise.all([files.remove(), database.close()]);
});

/** A data directory of the test's own: only one `dev` at a time is let into one. */
async function ownHome({ onTestFinished }: TestContext): Promise<TestHome> {
  const own = await createTestHome();
  onTestFinished(() => own.remove());
  return own;
}

/** Rows of every table: what is refused leaves none. */
async function rows(): Promise<Record<string, number>> {
  const { rows: tables } = await pool.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'countersign' and table_type = 'BASE TABLE' order by 1",
  );
  const counts = await Promise.all(
    tables.map(async ({ name }) => {
      const { rows: found } = await pool.query<{ n: string }>(`select count(*) as n from "${name}"`);
      return [name, Number(found[0]?.n)] as const;
    }),
  );
  expect(counts.length).toBeGreaterThan(10);
  // That somebody read contents is written, also where what they wanted then is refused; in its own time it is in the tree.
  const { rows: told } = await pool.query<{ n: string }>(
    `select count(*) as n from (select dedup_key from ledger_entry union select dedup_key from ledger_outbox) as entry
     where dedup_key not like 'read/%'`,
  );
  const others = counts.filter(([name]) => !/^ledger_(?:entry|outbox|checkpoint|tile)$/.test(name));
  return { ...Object.fromEntries(others), told: Number(told[0]?.n) };
}

async function file(name: string, contents: string): Promise<string> {
  const path = join(files.root, name);
  await writeFile(path, contents);
  return path;
}

const noRun = `run_${"0".repeat(26)}`;
const noApproval = `apr_${"0".repeat(26)}`;
const start = ["run", "start", "shop/support"];

describe("refused by the server, with nothing written", () => {
  test.each<readonly [string, readonly string[], number, string, string]>([
    ["an unknown agent", ["run", "start", "shop/suport", "--input", "x"], 1, "agent_not_found", "suport"],
    ["an unknown release", [...start, "--input", "x", "--release", "0".repeat(64)], 1, "release_not_found", "000"],
    ["a release that is no digest", [...start, "--input", "x", "--release", "latest"], 2, "invalid_request", "release"],
    [
      "a channel with no release",
      [...start, "--input", "x", "--channel", "staging"],
      1,
      "release_not_found",
      "staging",
    ],
    ["an empty prompt", [...start, "--input", "  "], 2, "usage", "--input"],
    [
      "an address that is none",
      [...start, "--input", "x", "--subject-id", "a", "--subject-email", "ada"],
      2,
      "invalid_request",
      "email",
    ],
    ["a tag that is none", [...start, "--input", "x", "--tag", "a b=c"], 2, "invalid_request", "tags"],
    ["an unknown run", ["run", "show", noRun], 1, "run_not_found", noRun],
    ["a run id that is none", ["run", "cancel", "latest"], 2, "invalid_request", "run"],
    ["a cursor that is none", ["run", "list", "--cursor", "x"], 2, "invalid_cursor", "cursor"],
    ["an unknown approval", ["approvals", "approve", noApproval, "--yes"], 1, "approval_not_found", noApproval],
    ["an audit of an unknown run", ["audit", "replay", noRun], 1, "run_not_found", noRun],
    ["policies of an unknown team", ["policy", "show", "nobody"], 1, "policy_not_found", "nobody"],
    ["a token that nobody has", ["run", "list", "--token", "cs_wrong"], 2, "unauthenticated", "token"],
  ])("%s", async (_, args, code, word, names) => {
    const before = await rows();
    const outcome = await countersign([...args, "--json"], { COUNTERSIGN_HOME: stack.home });
    const error = errorIn(outcome);
    expect({ code: outcome.code, word: error.code }).toEqual({ code, word });
    expect(`${error.message} ${error.hint ?? ""}`).toContain(names);
    expect(await rows()).toEqual(before);
  });

  test("a request of more than eight megabytes", async () => {
    const before = await rows();
    const outcome = await countersign(
      [...start, "--input-file", "-", "--json"],
      { COUNTERSIGN_HOME: stack.home },
      "a".repeat(9_000_000),
    );
    expect({ code: outcome.code, word: errorIn(outcome).code }).toEqual({ code: 1, word: "payload_too_large" });
    expect(await rows()).toEqual(before);
  });

  test("policies that are not Cedar, with file and line", async () => {
    const before = await rows();
    await file(
      "broken.cedar",
      '@id("a")\npermit (principal, action, resource);\n\n@id("b")\npermit (principal action);\n',
    );
    const outcome = await countersign(["policy", "activate", files.root, "--team", "shop", "--json"], {
      COUNTERSIGN_HOME: stack.home,
    });
    expect(outcome.code).not.toBe(0);
    expect(errorIn(outcome).message).toContain("broken.cedar:5");
    expect(await rows()).toEqual(before);
  });

  test("an approval signed with a key that is not the reviewer's, by the operator, or by nobody who may", async () => {
    const before = await rows();
    const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    const key = await file("other.pem", pem);
    const approve = ["approvals", "approve", waiting.approval, "--yes", "--json"];
    const home = { COUNTERSIGN_HOME: stack.home };
    const wrongKey = await countersign([...approve, "--key", key], home);
    expect([wrongKey.code, errorIn(wrongKey).code]).toEqual([1, "key_unknown"]);
    const client = JSON.parse(await readFile(join(stack.home, "client.json"), "utf8")) as { token: string };
    const asked = await countersign([...approve, "--token", client.token], home);
    // An administrator may ask; the key is the reviewer's, and signs for nobody else.
    expect([asked.code, errorIn(asked).code]).toEqual([1, "key_unknown"]);
    const noKey = await countersign([...approve, "--key", await file("empty.pem", "")], home);
    expect(noKey.code).toBe(2);
    expect(errorIn(noKey)).toMatchObject({
      code: "key_unusable",
      message: expect.stringContaining("empty.pem") as string,
    });
    const nobodyAsked = await countersign(["approvals", "approve", waiting.approval, "--json"], home);
    expect([nobodyAsked.code, errorIn(nobodyAsked).code]).toEqual([1, "not_confirmed"]);
    // It was shown to them, and that alone is noted.
    const { approval_viewing: _shown, ...after } = await rows();
    expect({ ...after, approval_viewing: before["approval_viewing"] }).toEqual(before);
    expect((await stack.operator.showRun({ params: { run: waiting.run as never } })).approvals).toMatchObject([
      { state: "pending", decidedBy: [] },
    ]);
  });

  test("a manifest with a tool that is not there", async () => {
    const before = await rows();
    const manifest = (tools: string) =>
      `name: helper\nteam: shop\nuseCase: x\nriskTier: limited\nmodel: { name: m }\nprompt: hi\n${tools}`;
    const missing = await file("missing.yaml", manifest("tools:\n  - module: ./none.ts\n"));
    const outcome = await countersign(["agent", "register", missing, "--json"], {
      COUNTERSIGN_HOME: stack.home,
      COUNTERSIGN_TOOL_ROOTS: files.root,
    });
    expect(outcome.code).toBe(2);
    expect(errorIn(outcome).message).toContain("none.ts");
    expect(await rows()).toEqual(before);
  });
});

test("something else that listens at the address is told from a Countersign server", async () => {
  const other: Server = createServer((_, response) => response.end("<h1>hello</h1>"));
  await new Promise<void>((resolve) => other.listen(files.ports.api, "127.0.0.1", resolve));
  try {
    const outcome = await countersign(
      ["run", "list", "--url", `http://127.0.0.1:${files.ports.api}`, "--json"],
      files.env,
    );
    expect(outcome.code).toBe(2);
    expect(errorIn(outcome)).toMatchObject({
      code: "answer_malformed",
      hint: expect.stringContaining(String(files.ports.api)) as string,
    });
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

// What waits for a time-out, or starts servers of its own, waits together.
describe.concurrent("servers that are not there", () => {
  const nowhere = "postgres://user:hunter2@127.0.0.1:1/db";
  const elsewhere = { TEMPORAL_ADDRESS: "127.0.0.1:1" };

  test.for<readonly [string, readonly string[], Readonly<Record<string, string>>, string]>([
    ["migrate, no Postgres", ["migrate"], { DATABASE_URL: nowhere }, "postgres_unreachable"],
    ["migrate, a URL that is none", ["migrate"], { DATABASE_URL: "nonsense" }, "postgres_unreachable"],
    ["server, no Postgres", ["server"], { DATABASE_URL: nowhere, ...elsewhere }, "postgres_unreachable"],
    ["worker, no Postgres", ["worker"], { DATABASE_URL: nowhere, ...elsewhere }, "postgres_unreachable"],
    ["dev, no Postgres", ["dev"], { DATABASE_URL: nowhere }, "postgres_unreachable"],
    ["dev, no Temporal", ["dev"], elsewhere, "temporal_unreachable"],
    ["dev, a port that is none", ["dev", "--port", "70000"], {}, "usage"],
  ])("%s: said so, with what to check, and no password", async ([, args, env, word], context) => {
    const own = await ownHome(context);
    const outcome = await countersign([...args, "--json"], {
      ...own.env,
      COUNTERSIGN_POSTGRES_PORT: String(own.ports.postgres),
      ...env,
    });
    expect(outcome.code).toBe(2);
    const error = errorIn(outcome);
    expect(error.code).toBe(word);
    expect(`${error.message} ${error.hint ?? ""}`).toMatch(/DATABASE_URL|TEMPORAL_ADDRESS|is not a port/);
    expect(outcome.stdout + outcome.stderr).not.toContain("hunter2");
    expect(await own.servers()).toEqual([]);
  });

  test("server and worker, Postgres and no Temporal", async () => {
    const env = { ...files.env, DATABASE_URL: database.url, ...elsewhere, COUNTERSIGN_PORT: "0" };
    const outcomes = await Promise.all(["server", "worker"].map((command) => countersign([command, "--json"], env)));
    for (const outcome of outcomes) {
      expect(outcome.code).toBe(2);
      expect(errorIn(outcome)).toMatchObject({
        code: "temporal_unavailable",
        hint: expect.stringContaining("TEMPORAL_ADDRESS") as string,
      });
    }
  });
});

describe.concurrent("files that the environment names", () => {
  test.for<readonly [string, string, string, string, string]>([
    ["prices that are not JSON", "COUNTERSIGN_PRICES", "prices.json", "{", "environment"],
    [
      "prices of another form",
      "COUNTERSIGN_PRICES",
      "other.json",
      '{"m":{"inputPerMillion":"free"}}',
      "prices_invalid",
    ],
    ["a script that is none", "COUNTERSIGN_SCRIPTS", "script.yaml", "v: 1\nmodel: m\nbranches: 7\n", "script_invalid"],
  ])("%s stop the start, and name the file", async ([, variable, name, contents, word], context) => {
    const own = await ownHome(context);
    const path = await file(name, contents);
    const outcome = await own.dev({ args: ["--json"], env: { [variable]: path } }).ended;
    expect(outcome.code).toBe(2);
    expect(errorIn(outcome)).toMatchObject({ code: word, message: expect.stringContaining(path) as string });
    expect(await own.servers()).toEqual([]);
  });
});
