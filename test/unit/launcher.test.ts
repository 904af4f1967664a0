import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

// The launcher beside a command line of its own, so that it is run as a user's shell runs it.
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "countersign-unit-"));
  for (const folder of ["bin", "src/cli"]) mkdirSync(join(root, folder), { recursive: true });
  copyFileSync(fileURLToPath(new URL("../../bin/countersign.js", import.meta.url)), join(root, "bin/countersign.js"));
  writeFileSync(join(root, "package.json"), '{ "type": "module" }');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Makes the Node that runs the launcher look old, as Node 20 is to it. */
const pretendOld = 'Object.defineProperty(process.versions, "node", { value: "20.3.0" })';
const oldNode = ["--import", `data:text/javascript,${pretendOld}`];
const installed = fileURLToPath(new URL("../../node_modules", import.meta.url));

test.each([
  ["this Node", []],
  ["the installed Node, under an old one", oldNode],
])("runs the command line with %s, passing arguments and exit code", (_, flags) => {
  symlinkSync(installed, join(root, "node_modules"));
  main('const given: string[] = process.argv.slice(2); console.log(given.join("|")); process.exitCode = 7;');
  const { stdout, status } = spawnSync(process.execPath, [...flags, launcher(), "run", "a b"], { encoding: "utf8" });
  expect({ stdout, status }).toEqual({ stdout: "run|a b\n", status: 7 });
});

test("passes a signal on and ends as the command line ends", async () => {
  symlinkSync(installed, join(root, "node_modules"));
  main('process.on("SIGTERM", () => process.exit(3)); setInterval(() => {}, 1_000); console.log("ready");');
  const child = spawn(process.execPath, [...oldNode, launcher()], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([3, null]);
});

test("says what to do when no Node fits", () => {
  main("");
  const { stderr, status } = spawnSync(process.execPath, [...oldNode, launcher()], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toMatch(/Node 20\.3\.0 is too old.*\nrun `npm install`/);
});

function launcher(): string {
  return join(root, "bin/countersign.js");
}

function main(text: string): void {
  writeFileSync(join(root, "src/cli/main.ts"), text);
}
