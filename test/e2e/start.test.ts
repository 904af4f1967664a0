import { createServer } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { countersign, createTestHome, documentOf, errorIn, isAlive, isListening } from "./program.ts";
import type { Program, TestHome } from "./program.ts";

/** `npm start` as a person lives with it: the tests go on from one another, on one data directory. */
let home: TestHome;
let dev: Program;
let approval = "";
let run = "";

type Approvals = {
  readonly approvals: readonly { readonly id: string; readonly run: string; readonly name: string }[];
};
type Runs = { readonly runs: readonly { readonly id: string; readonly status: string }[] };
type Detail = {
  readonly run: { readonly status: string };
  readonly steps: readonly { readonly name: string; readonly state: string }[];
};

beforeAll(async () => {
  home = await createTestHome();
});
afterAll(() => home.remove());

const command = (...args: string[]) => countersign(args, home.env);

/** What waits, and how many runs there are. */
async function standing() {
  const [waiting, runs] = await Promise.all([command("approvals", "list", "--json"), command("run", "list", "--json")]);
  expect([waiting.code, runs.code]).toEqual([0, 0]);
  return { waiting: documentOf<Approvals>(waiting).approvals, runs: documentOf<Runs>(runs).runs };
}

test("a first start brings everything up, with a run that waits for a person", async () => {
  dev = home.dev();
  await dev.says("Countersign is up.");
  await dev.says("Ctrl-C stops everything");
  const { waiting, runs } = await standing();
  expect(waiting).toMatchObject([{ name: "refund" }]);
  expect(runs).toMatchObject([{ status: "running" }]);
  approval = waiting[0]?.id ?? "";
  run = runs[0]?.id ?? "";
  // What it tells the person to type is about this very run.
  expect(dev.stdout()).toContain(`npx countersign approvals approve ${approval}`);
  expect(waiting[0]?.run).toBe(run);
});

test("a second start on the same directory is refused, and disturbs nothing", async () => {
  const second = await createTestHome();
  try {
    const outcome = await second.dev({ args: ["--json"], env: home.env }).ended;
    expect(outcome.code).toBe(2);
    expect(errorIn(outcome)).toMatchObject({
      code: "home_locked",
      message: expect.stringContaining(`process ${dev.pid}`) as string,
    });
  } finally {
    await second.remove();
  }
  expect((await standing()).waiting).toMatchObject([{ id: approval }]);
});

test("Ctrl-C ends it with 0, and leaves no process and no open port behind", async () => {
  const servers = await home.servers();
  expect(servers).toHaveLength(2);
  dev.kill("SIGINT");
  expect(await dev.ended).toMatchObject({
    code: 0,
    stderr: expect.not.stringContaining("did not stop cleanly") as string,
  });
  expect(servers.filter(isAlive)).toEqual([]);
  expect(await home.servers()).toEqual([]);
  const open = await Promise.all(Object.values(home.ports).map(isListening));
  expect(open).toEqual([false, false, false, false]);
});

test.each([
  ["the API", "api", "--port", "COUNTERSIGN_PORT"],
  ["Temporal", "temporal", "--temporal-port", "COUNTERSIGN_TEMPORAL_PORT"],
  ["Temporal's web UI", "temporalUi", "--temporal-ui-port", "COUNTERSIGN_TEMPORAL_UI_PORT"],
  ["Postgres", "postgres", "--postgres-port", "COUNTERSIGN_POSTGRES_PORT"],
] as const)(
  "a port that %s would have is taken: an error names it and the option, and nothing stays",
  async (_, name, option, variable) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(home.ports[name], "127.0.0.1", resolve));
    try {
      const outcome = await home.dev({ args: ["--json"] }).ended;
      expect(outcome.code).toBe(2);
      const error = errorIn(outcome);
      expect(error).toMatchObject({
        code: "port_taken",
        message: expect.stringContaining(String(home.ports[name])) as string,
      });
      expect(error.hint).toContain(`${option} or ${variable}`);
      expect(await home.servers()).toEqual([]);
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  },
);

test("killed without warning while the run waits: the next start ends what was left, and the same run still waits", async () => {
  dev = home.dev();
  await dev.says("Ctrl-C stops everything");
  expect((await standing()).waiting).toMatchObject([{ id: approval }]);
  const left = await home.servers();
  dev.kill("SIGKILL");
  await dev.ended;

  dev = home.dev();
  await dev.says("Ctrl-C stops everything");
  const servers = await home.servers();
  expect(left.filter((pid) => isAlive(pid) && !servers.includes(pid))).toEqual([]);
  const { waiting, runs } = await standing();
  expect(waiting).toMatchObject([{ id: approval }]);
  expect(runs).toMatchObject([{ id: run, status: "running" }]);
});

test("approved, the run completes with one refund, and its replay and evidence hold", async () => {
  expect(await command("approvals", "approve", approval, "--yes")).toMatchObject({ code: 0 });
  expect(await command("run", "watch", run)).toMatchObject({ code: 0 });
  const shown = documentOf<Detail>(await command("run", "show", run, "--json"));
  expect(shown.run.status).toBe("completed");
  expect(shown.steps.filter((step) => step.name === "refund")).toMatchObject([{ state: "done" }]);
  const [replayed, verified, logs] = await Promise.all([
    command("audit", "replay", run, "--json"),
    command("audit", "verify", run, "--json"),
    command("audit", "verify", "--log", "shop", "--json"),
  ]);
  for (const outcome of [replayed, verified, logs]) {
    expect(documentOf(outcome)).toMatchObject({ verdict: "verified" });
    expect(outcome.code).toBe(0);
  }
});
