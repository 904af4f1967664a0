import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { toolActivity } from "../../activities/index.ts";
import type { ToolDefinition } from "../../src/core/release.ts";
import { issue } from "../../src/gate/governed-call.ts";
import type { EffectOutcome, GovernedToolCall } from "../../src/gate/index.ts";
import { loadToolModule } from "../../src/tools/index.ts";

// What the tool of the module does is put here by each test; the module is loaded as a worker loads it.
type Behaviour = { execute: () => unknown; lookup: () => unknown };
const behaviour: Behaviour = { execute: () => null, lookup: () => undefined };
let executed = 0;
Object.assign(globalThis, {
  toolUnderTest: {
    execute: () => {
      executed += 1;
      return behaviour.execute();
    },
    lookup: () => behaviour.lookup(),
  },
});

const kinds = [
  ["reads", "read", "none"],
  ["keyed", "write", "key"],
  ["asked", "write", "lookup"],
  ["once", "write", "none"],
] as const;
type Kind = (typeof kinds)[number][0];

let folder: string;
let definitions: ReadonlyMap<string, ToolDefinition>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-activity-"));
  const tools = kinds.map(([name, effect, idempotency]) => {
    const facts = { description: "", parameters: { type: "object" }, groups: [], short: false, timeoutMs: 50 };
    const lookup = idempotency === "lookup" ? ", lookup: async () => toolUnderTest.lookup()" : "";
    return `{ definition: ${JSON.stringify({ name, effect, idempotency, ...facts })}, execute: async () => toolUnderTest.execute()${lookup} }`;
  });
  await writeFile(join(folder, "tools.mjs"), `export const tools = [${tools.join(",\n")}];\n`);
  const loaded = await loadToolModule("tools.mjs", [folder]);
  definitions = new Map(loaded.map(({ definition }) => [definition.name, definition]));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  executed = 0;
  behaviour.execute = () => null;
  behaviour.lookup = () => undefined;
});

async function act(kind: Kind, changed: Partial<GovernedToolCall> = {}): Promise<EffectOutcome> {
  const run = { id: "run_1", input: { prompt: "go" } };
  const call = {
    kind: "tool",
    run,
    seq: 1,
    tool: definitions.get(kind),
    args: {},
    idempotencyKey: "k",
    resumed: false,
  };
  return toolActivity([folder])(
    issue({ ...call, signal: new AbortController().signal, ...changed } as unknown as GovernedToolCall),
  );
}

const failing = (error: unknown) => () => {
  throw error;
};
const lostConnection = failing(Object.assign(new Error("secret detail"), { code: "ECONNRESET" }));

test.each<[Kind, "retry" | "unknown"]>([
  ["reads", "retry"],
  ["keyed", "retry"],
  ["asked", "retry"],
  ["once", "unknown"],
])("a failure that may have had an effect is, for a tool that %s: %s", async (kind, status) => {
  behaviour.execute = lostConnection;
  const outcome = await act(kind);
  expect(outcome).toMatchObject({ status, message: expect.stringContaining("ECONNRESET") as string });
  expect(JSON.stringify(outcome)).not.toContain("secret");
});

test.each(["tool_failed", "result_unusable"])(
  "a failure with the code %s is told to the model, in bounds",
  async (code) => {
    // By its code: the tool may bring a copy of the class.
    behaviour.execute = failing(Object.assign(new Error(`no such order \ud800${"x".repeat(10_000)}`), { code }));
    const outcome = await act("once");
    expect(outcome).toMatchObject({ status: "result", result: { status: "error" } });
    const text = JSON.stringify(outcome);
    expect([text.includes("no such order"), text.includes("\\ud800"), text.length < 5_000]).toEqual([
      true,
      false,
      true,
    ]);
  },
);

test.each([
  ["too large", () => "x".repeat(40 * 1024 * 1024), /too large/],
  ["no JSON", () => new Map([["a", 1]]), /not JSON/],
  ["a number that is none", () => Number.NaN, /not JSON/],
])("a result that is %s is no reason to do the work again", async (_, execute, message) => {
  behaviour.execute = execute;
  expect(await act("once")).toMatchObject({
    result: { status: "error", message: expect.stringMatching(message) as string },
  });
});

test("a resumed call with a lookup is asked first; null is a result, and not nothing", async () => {
  behaviour.lookup = () => null;
  expect(await act("asked", { resumed: true })).toMatchObject({
    status: "result",
    result: { status: "ok", value: null },
  });
  expect(executed).toBe(0);
  behaviour.lookup = () => undefined;
  behaviour.execute = () => "done";
  expect(await act("asked", { resumed: true })).toMatchObject({ result: { status: "ok", value: "done" } });
  expect(executed).toBe(1);
});

test("a lookup that fails says nothing of what happened: the effect is not begun again", async () => {
  behaviour.lookup = failing(Object.assign(new Error("down"), { code: "tool_failed" }));
  expect(await act("asked", { resumed: true })).toMatchObject({ status: "retry" });
  expect(executed).toBe(0);
});

test("a release that promises a lookup which the code does not have leaves the outcome unknown", async () => {
  const tool = { ...(definitions.get("once") as ToolDefinition), idempotency: "lookup" as const };
  expect(await act("once", { resumed: true, tool })).toMatchObject({ status: "unknown" });
  expect(executed).toBe(0);
});

test("a tool whose time is up is not waited for; one whose time was up before is not begun", async () => {
  behaviour.execute = () => new Promise(() => undefined);
  expect(await act("once", { signal: AbortSignal.timeout(20) })).toMatchObject({ status: "unknown" });
  expect(executed).toBe(1);
  expect(await act("once", { signal: AbortSignal.abort() })).toMatchObject({ status: "failed", code: "cancelled" });
  // What the first attempt did is still to be found out.
  expect(await act("keyed", { signal: AbortSignal.abort(), resumed: true })).toMatchObject({ status: "retry" });
  expect(executed).toBe(1);
});

test("a tool that cannot be loaded has done nothing", async () => {
  const implementation = { kind: "function", module: "none.mjs", sha256: "0".repeat(64) } as never;
  const tool = { ...(definitions.get("once") as ToolDefinition), implementation };
  expect(await act("once", { tool })).toMatchObject({ status: "failed", code: "module_missing" });
});

test("a call that the gate did not issue is refused", async () => {
  await expect(toolActivity([folder])({ kind: "tool" } as GovernedToolCall)).rejects.toThrow(/around the gate/);
});
