import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";

import type { ToolDefinition } from "../../src/core/release.ts";
import { sha256 } from "../../src/store/canonical.ts";
import { loadToolModule, resolveTool } from "../../src/tools/index.ts";
import type { ToolContext } from "../../src/tools/index.ts";

const context = {} as ToolContext;
const folders: string[] = [];
let first: string;
let second: string;
let outside: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), "countersign-tools-"));
  folders.push(folder);
  [first, second, outside] = ["first", "second", "outside"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await Promise.all([first, second, outside].map((path) => mkdir(path)));
});
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

const facts = {
  description: "",
  parameters: { type: "object" },
  effect: "read",
  groups: [],
  idempotency: "key",
  short: false,
  timeoutMs: 1_000,
} as const;

/** The source of a tool that answers `answer`. */
function source(name: string, answer: string, others: object = {}): string {
  const definition = { name, ...facts, ...others };
  return `{ definition: ${JSON.stringify(definition)}, execute: async () => ${answer} }`;
}

async function put(folder: string, file: string, text: string): Promise<string> {
  const path = join(folder, file);
  await writeFile(path, text);
  return path;
}

function pinned(module: string, text: string, name = "a"): ToolDefinition {
  return { name, ...facts, implementation: { kind: "function", module, sha256: sha256(text) } };
}

const answers = async (definition: ToolDefinition, roots: readonly string[]) =>
  (await resolveTool(definition, roots)).execute({}, context);

test("a module's tools are pinned by the file's bytes and its place below the root", async () => {
  const text = `const a = ${source("a", "1")};\nexport { a };\nexport const all = [a, ${source("b", "2")}];\nexport const other = 3;\n`;
  const path = await put(second, "tools.mjs", text);
  const implementation = { kind: "function", module: "tools.mjs", sha256: sha256(text) };
  // Relative or absolute, and in whatever root it is.
  for (const module of ["tools.mjs", path]) {
    const loaded = await loadToolModule(module, [first, second]);
    expect(loaded.map(({ definition }) => [definition.name, definition.implementation])).toEqual([
      ["a", implementation],
      ["b", implementation],
    ]);
  }
  expect(await answers(pinned("tools.mjs", text, "b"), [first, second])).toBe(2);
  await expect(answers(pinned("tools.mjs", text, "c"), [second])).rejects.toMatchObject({ code: "tool_missing" });
});

test("of two roots with such a file, the one with the pinned bytes counts", async () => {
  const texts = ["1", "2"].map((answer) => `export const a = ${source("a", answer)};\n`) as [string, string];
  await put(first, "tools.mjs", texts[0]);
  await put(second, "tools.mjs", texts[1]);
  expect(await answers(pinned("tools.mjs", texts[0]), [first, second])).toBe(1);
  expect(await answers(pinned("tools.mjs", texts[1]), [first, second])).toBe(2);
});

test("code outside the roots is never run", async () => {
  const path = await put(outside, "evil.mjs", "globalThis.evilRan = true;\n");
  await symlink(path, join(first, "link.mjs"));
  await symlink(outside, join(first, "folder"));
  for (const module of ["../outside/evil.mjs", "link.mjs", "folder/evil.mjs", path]) {
    await expect(loadToolModule(module, [first, second])).rejects.toMatchObject({ code: "module_outside_roots" });
  }
  await expect(loadToolModule(path, [])).rejects.toMatchObject({ code: "module_missing" });
  expect(globalThis).not.toHaveProperty("evilRan");
  // A name that only begins like the way out is inside.
  await put(first, "..tools.mjs", `export const a = ${source("a", "1")};\n`);
  expect(await loadToolModule("..tools.mjs", [first])).toHaveLength(1);
});

test("a file that was changed is not run as what the release pins; code that is loaded stays what it is", async () => {
  const text = `export const a = ${source("a", "1")};\n`;
  const changed = `globalThis.changedRan = true;\n${text}`;
  await put(first, "tools.mjs", changed);
  await expect(answers(pinned("tools.mjs", text), [first])).rejects.toMatchObject({ code: "module_changed" });
  await put(first, "tools.mjs", text);
  expect(await answers(pinned("tools.mjs", text), [first])).toBe(1);
  await put(first, "tools.mjs", changed);
  expect(await answers(pinned("tools.mjs", text), [first])).toBe(1);
  await expect(answers(pinned("tools.mjs", text, "b"), [first])).rejects.toMatchObject({ code: "module_changed" });
  expect(globalThis).not.toHaveProperty("changedRan");
});

test("a file that is replaced while it is loaded is refused, and what was loaded is not kept under its digest", async () => {
  // Node reads the file after we hashed it; the module stands for that moment by replacing its own file, once.
  const text = [
    'import { writeFileSync } from "node:fs";',
    "const turn = (globalThis.turns ??= { count: 0 });",
    "turn.count += 1;",
    "const mine = turn.count;",
    `if (mine === 1) writeFileSync(${JSON.stringify(join(first, "tools.mjs"))}, "export {};");`,
    `export const a = ${source("a", "mine")};`,
  ].join("\n");
  await put(first, "tools.mjs", text);
  await expect(answers(pinned("tools.mjs", text), [first])).rejects.toMatchObject({ code: "module_changed" });
  await put(first, "tools.mjs", text);
  expect(await answers(pinned("tools.mjs", text), [first])).toBe(2);
  // From then on it is loaded, once, however many ask.
  const both = await Promise.all([
    answers(pinned("tools.mjs", text), [first]),
    answers(pinned("tools.mjs", text), [first]),
  ]);
  expect(both).toEqual([2, 2]);
});

test.each<[string, string, RegExp, string]>([
  [
    "module_broken",
    'throw new Error("no database\\nat line 2");',
    /cannot be loaded: no database$/,
    "a module that throws",
  ],
  ["module_broken", "export const = 1;", /cannot be loaded/, "a module that is no code"],
  [
    "tool_duplicate",
    `export const all = [${source("a", "1")}, ${source("a", "2")}];`,
    /two tools named `a`/,
    "two tools of one name",
  ],
  [
    "tool_invalid",
    `export const a = ${source("a", "1", { effect: "none" })};`,
    /malformed tool: effect/,
    "an unknown effect",
  ],
  [
    "tool_invalid",
    `export const a = ${source("a", "1", { idempotency: "lookup" })};`,
    /needs a `lookup`/,
    "a lookup that is missing",
  ],
  [
    "tool_invalid",
    `export const a = ${source("a", "1", { parameters: {} })};`,
    /parameters/,
    "parameters that are no object",
  ],
  [
    "tool_invalid",
    `export const a = ${source("a", "1", { extra: 1 })};`,
    /unrecognized key/i,
    "a fact that nobody knows",
  ],
])("%s: %s", async (code, text, message) => {
  await put(first, "tools.mjs", text);
  const loading = loadToolModule("tools.mjs", [first]);
  await expect(loading).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
});

test("what is there and no file is said to be missing, in one kind of error", async () => {
  await mkdir(join(first, "folder"));
  for (const module of ["folder", ".", "none.mjs", "nul\0.mjs"]) {
    await expect(loadToolModule(module, [first])).rejects.toMatchObject({ code: "module_missing" });
  }
  // Said before it is opened: a pipe would be waited for.
  await expect(loadToolModule("folder", [first])).rejects.toThrow("`folder` is not a file");
});

test("a module that failed is tried again: what it lacked may be there now", async () => {
  const text = `if (globalThis.ready !== true) throw new Error("not ready");\nexport const a = ${source("a", "1")};\n`;
  await put(first, "tools.mjs", text);
  await expect(loadToolModule("tools.mjs", [first])).rejects.toMatchObject({ code: "module_broken" });
  Object.assign(globalThis, { ready: true });
  expect(await answers(pinned("tools.mjs", text), [first])).toBe(1);
});

test.each([
  { effect: "write" },
  { groups: ["money"] },
  { idempotency: "none" },
  { parameters: { type: "object", properties: {} } },
] as const)("a release that says %j of a tool, and its code does not, cannot call it", async (claim) => {
  const text = `export const a = ${source("a", "1", claim)};\n`;
  await put(first, "claims.mjs", text);
  // A payment that is registered as a read would pass every policy on payments.
  await expect(answers(pinned("claims.mjs", text), [first])).rejects.toMatchObject({ code: "tool_differs" });
  expect(await answers({ ...pinned("claims.mjs", text), ...claim }, [first])).toBe(1);
});
