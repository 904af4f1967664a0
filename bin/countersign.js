#!/usr/bin/env node
// The launcher. Countersign's sources run by Node's own type stripping, which an older Node lacks: then the Node that npm
// installed beside it (the package `node`) runs them. Plain JavaScript, for whatever Node starts it.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath, pathToFileURL } from "node:url";

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

/** Unflagged type stripping: 22.18 and 24 (23.6 has it too, and is out of support). */
function stripsTypes(version) {
  const [major, minor] = version.split(".").map(Number);
  return major >= 24 || (major === 22 && minor >= 18);
}

/** Beside the sources in a checkout; one level up where the package is itself a dependency. */
function installedNode() {
  const name = process.platform === "win32" ? "node.exe" : "node";
  const candidates = ["../node_modules/node/bin/", "../node_modules/.bin/", "../../node/bin/", "../../.bin/"];
  return candidates.map((folder) => fileURLToPath(new URL(folder + name, import.meta.url))).find(existsSync);
}

function runWith(node) {
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to the child as well, and a second one would cut its orderly end short.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR2"]) process.on(signal, () => child.kill(signal));
  child.once("error", (error) => fail(`\`${node}\` cannot be started: ${error.message}`));
  child.once("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

function fail(reason) {
  console.error(`countersign: ${reason}`);
  console.error("run `npm install` in Countersign's directory, or use Node 24 (or 22.18 and newer)");
  process.exit(2);
}

const node = stripsTypes(process.versions.node) ? process.execPath : installedNode();
if (node === undefined) fail(`Node ${process.versions.node} is too old, and the package \`node\` is not installed`);
else if (!existsSync(main)) fail(`\`${main}\` is missing`);
else if (node === process.execPath) await import(pathToFileURL(main).href);
else runWith(node);
