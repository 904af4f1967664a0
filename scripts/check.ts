/**
 * `npm run check`: everything that is known without running the product. Prints a line per check with its time, and the
 * whole output of those that fail. Exit code 1 when one fails. Names as arguments run only those checks.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const plantedRoot = join(root, "test/planted");
const config = join(root, ".dependency-cruiser.mjs");

type Outcome = { readonly code: number; readonly output: string };
type Check = { readonly name: string; readonly run: () => Promise<Outcome> };

const checks: readonly Check[] = [
  { name: "types", run: () => program("tsc", ["-p", "."]) },
  { name: "workflow types", run: () => program("tsc", ["-p", "workflows"]) },
  { name: "page types", run: () => program("tsc", ["-p", "src/server/pages"]) },
  { name: "lint", run: () => program("oxlint", ["--type-aware", "--quiet"]) },
  { name: "format", run: () => program("oxfmt", ["--check", "--no-error-on-unmatched-pattern"]) },
  { name: "rooms", run: checkRooms },
  { name: "rooms, planted", run: checkPlanted },
  { name: "dead code", run: () => program("knip", ["--no-progress"]) },
  { name: "docs", run: () => program("node", ["scripts/docs.ts", "--check"]) },
];

/** Small tools that mostly wait for the disk; more at once only makes each slower on two cores. */
const atOnce = 3;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => checks.every((check) => check.name !== name));
if (unknown.length > 0) {
  console.error(`unknown check \`${unknown.join(", ")}\`; known: ${checks.map((check) => check.name).join("; ")}`);
  process.exit(2);
}
const queue = checks.filter((check) => wanted.length === 0 || wanted.includes(check.name));
const failures = (await Promise.all(Array.from({ length: atOnce }, () => work(queue)))).flat();
for (const { name, output } of failures) console.log(`\n--- ${name}\n${output.trimEnd()}`);
console.log(
  failures.length === 0 ? "\nevery check passed" : `\nfailed: ${failures.map((failure) => failure.name).join(", ")}`,
);
process.exitCode = failures.length === 0 ? 0 : 1;

async function work(waiting: Check[]): Promise<readonly { readonly name: string; readonly output: string }[]> {
  const failed: { name: string; output: string }[] = [];
  for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
    const started = performance.now();
    const { code, output } = await check.run();
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(`${code === 0 ? "ok    " : "FAILED"} ${check.name} (${seconds} s)`);
    if (code !== 0) failed.push({ name: check.name, output });
  }
  return failed;
}

/** A cruise that sees nothing passes everything: it must have seen at least the sources that exist. */
async function checkRooms(): Promise<Outcome> {
  const folders = ["src", "workflows", "activities", "examples", "bench"].filter((folder) =>
    existsSync(join(root, folder)),
  );
  const result = await cruise(root, folders);
  if (!("summary" in result)) return result;
  const { violations, totalCruised } = result.summary;
  const lines = violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
  if (totalCruised < 50) lines.push(`only ${totalCruised} modules were seen: is the parser blind?`);
  return { code: lines.length === 0 ? 0 : 1, output: lines.join("\n") };
}

/** The planted tree says in comments which rules it breaks. Each must be reported. */
async function checkPlanted(): Promise<Outcome> {
  const result = await cruise(plantedRoot, ["src", "workflows"]);
  if (!("summary" in result)) return result;
  const seen = new Set(result.summary.violations.map(({ rule }) => rule.name));
  const planted = plantedRules();
  if (planted.length < 10) return { code: 1, output: `only ${planted.length} rules are planted` };
  const blind = planted.filter((name) => !seen.has(name));
  return {
    code: blind.length === 0 ? 0 : 1,
    output: blind.map((name) => `planted, but not reported: ${name}`).join("\n"),
  };
}

function plantedRules(): readonly string[] {
  const files = readdirSync(plantedRoot, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const comments = files.flatMap((file) => [
    ...readFileSync(join(plantedRoot, file), "utf8").matchAll(/^\/\/ breaks (\S+)/gm),
  ]);
  return comments.map((match) => match[1] ?? "");
}

type Cruise = {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly rule: { readonly name: string };
      readonly from: string;
      readonly to: string;
    }[];
  };
};

async function cruise(cwd: string, folders: readonly string[]): Promise<Cruise | Outcome> {
  const { stdout, output } = await execute("depcruise", ["--config", config, "--output-type", "json", ...folders], cwd);
  try {
    return JSON.parse(stdout) as Cruise;
  } catch {
    return { code: 1, output };
  }
}

async function program(name: string, args: readonly string[]): Promise<Outcome> {
  return execute(name, args, root);
}

function execute(name: string, args: readonly string[], cwd: string): Promise<Outcome & { readonly stdout: string }> {
  const path = `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`;
  return new Promise((resolve, reject) => {
    const child = spawn(name, [...args], {
      cwd,
      env: { ...process.env, PATH: path, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8");
      output += chunk.toString("utf8");
    });
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output, stdout }));
  });
}
