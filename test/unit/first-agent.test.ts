import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { bookRoom, findRooms } from "../../examples/first-agent/tools.ts";
import { readAgentFile } from "../../src/cli/agent-file.ts";
import { ownScripts } from "../../src/cli/own-scripts.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { transcript } from "../../src/core/transcript.ts";
import type { FinishedStep, ToolResult } from "../../src/core/transcript.ts";
import { checkPolicySet, loadPolicyDirectory, runCases } from "../../src/policy/index.ts";
import { parseScript, play } from "../../src/providers/index.ts";
import { ToolError } from "../../src/tools/index.ts";
import type { ToolContext } from "../../src/tools/index.ts";

/** The agent that the README walks through. */
const project = fileURLToPath(new URL("../../", import.meta.url));
const agent = join(project, "examples/first-agent");
const script = parseScript(readFileSync(join(agent, "script.yaml"), "utf8"), "script.yaml");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-first-agent-"));
  vi.stubEnv("BOOKINGS", join(folder, "bookings"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const context = (idempotencyKey: string): ToolContext => ({
  run: "run_1" as RunId,
  subject: undefined,
  tags: {},
  idempotencyKey,
  signal: new AbortController().signal,
});

type World = (name: string, args: JsonObject, seq: number) => Promise<ToolResult>;

const really: World = async (name, args, seq) => {
  const tool = [findRooms, bookRoom].find(({ definition }) => definition.name === name);
  return { status: "ok", value: (await tool?.execute(args, context(`run_1.${seq}`))) ?? null };
};

/** Converses as the agent loop does, until the model answers. */
async function converse(input: string, world: World): Promise<string> {
  const steps: FinishedStep[] = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const answer = play(script, transcript("Be of use.", input, steps));
    if (answer.kind === "stuck") throw new Error(answer.message);
    if (answer.calls.length === 0) return answer.content;
    steps.push({
      kind: "model",
      result: { content: answer.content, toolCalls: answer.calls, finishReason: "tool_calls" },
    });
    for (const { id, name, arguments: text } of answer.calls) {
      const result = await world(name, JSON.parse(text) as JsonObject, steps.length);
      steps.push({ kind: "tool", callId: id, result });
    }
  }
  throw new Error("the conversation did not end");
}

const book = "Book a room for 6 people on 2027-03-01 for the budget review.";

describe("the conversation", () => {
  test("looks, and books the smallest room that is free", async () => {
    expect(await converse(book, really)).toBe("Oak is booked on 2027-03-01 for the budget review.");
    expect(await converse(book, async (name, args) => really(name, args, 7))).toMatch(/^Willow is booked/);
    expect(await converse(book, really)).toBe("No room is free on 2027-03-01.");
    expect(await readdir(join(folder, "bookings"))).toEqual(["2027-03-01-Oak.json", "2027-03-01-Willow.json"]);
  });

  test.each<[string, ToolResult, RegExp]>([
    ["find_rooms", { status: "error", message: "no" }, /cannot look/],
    [
      "book_room",
      { status: "ok", value: { executed: false, would: { arguments: { room: "Oak" } } } },
      /would have booked Oak/,
    ],
    ["book_room", { status: "denied", code: "declined", message: "no" }, /may not book/],
    ["book_room", { status: "error", message: "taken" }, /taken in the meantime/],
  ])("when %s ends in %o", async (name, result, reply) => {
    const world: World = async (called, args, seq) => (called === name ? result : really(called, args, seq));
    expect(await converse(book, world)).toMatch(reply);
  });
});

test("a step that is tried again finds its own booking, and another finds the room taken", async () => {
  const args = { room: "Birch", day: "2027-03-01", title: "talk" };
  const first = await bookRoom.execute(args, context("a"));
  expect(await bookRoom.execute(args, context("a"))).toEqual(first);
  await expect(bookRoom.execute(args, context("b"))).rejects.toThrow(ToolError);
  await expect(bookRoom.execute({ ...args, room: "../x" }, context("c"))).rejects.toThrow("there is no room");
});

test("its policies fit its tools, and every one decides a case", async () => {
  const release = await readAgentFile(join(agent, "agent.yaml"), [project]);
  expect(Object.fromEntries(release.tools.map((tool) => [tool.name, tool.effect]))).toEqual({
    book_room: "write",
    find_rooms: "read",
  });
  const { document, sources, tools, cases } = await loadPolicyDirectory(join(agent, "policies"));
  expect(checkPolicySet(document, release.tools, sources)).toEqual([]);
  const { results, uncovered } = runCases(document, tools, cases);
  expect(results.filter((result) => !result.passed)).toEqual([]);
  expect(uncovered).toEqual([]);
});

describe("COUNTERSIGN_SCRIPTS", () => {
  const names = async (place: string) => (await ownScripts({ COUNTERSIGN_SCRIPTS: place })).map(({ model }) => model);

  test("names a file, or a folder with scripts in it and below", async () => {
    expect(await names("")).toEqual([]);
    expect(await names(join(agent, "script.yaml"))).toEqual(["scripted/rooms"]);
    expect(await names(agent)).toEqual(["scripted/rooms"]);
    expect(await names(join(project, "examples"))).toEqual(["scripted/rooms", "scripted/handbook", "scripted/support"]);
  });

  test("what is not there, has none, or has two for one model is an error", async () => {
    await expect(names(join(folder, "none"))).rejects.toMatchObject({ code: "environment" });
    await expect(names(folder)).rejects.toMatchObject({ code: "environment" });
    for (const name of ["a", "b"]) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, "script.yaml"), readFileSync(join(agent, "script.yaml")));
    }
    await expect(names(folder)).rejects.toThrow("two scripts are for the model `scripted/rooms`");
    await writeFile(join(folder, "a", "script.yaml"), "v: 1\n");
    await expect(names(folder)).rejects.toMatchObject({ code: "script_invalid" });
  });
});
