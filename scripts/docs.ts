/**
 * `node scripts/docs.ts`: writes docs/cli.md and docs/errors.md from the code. With `--check` it writes nothing, and exits 1 where
 * they are not what the code says.
 */
import { readFileSync, writeFileSync } from "node:fs";

import type { Command } from "commander";

import { errorCodes } from "../src/api/index.ts";
import { buildProgram } from "../src/cli/program.ts";

const root = new URL("../", import.meta.url);
const generated = "<!-- Made by `node scripts/docs.ts`: do not edit. -->";
const cell = (text: string): string => text.replaceAll("|", "\\|");

function optionRows({ options }: Command): readonly string[] {
  if (options.length === 0) return [];
  const rows = options.map(({ flags, description, argChoices, defaultValue, mandatory }) => {
    const choices = argChoices === undefined ? "" : ` (${argChoices.join(", ")})`;
    const scalar = typeof defaultValue === "string" || typeof defaultValue === "number";
    const otherwise = scalar && defaultValue !== "" ? `; default: ${defaultValue}` : "";
    const needed = mandatory ? "; **required**" : "";
    return `| \`${cell(flags)}\` | ${cell(`${description}${choices}${otherwise}${needed}`.replace(/^(; | )/, ""))} |`;
  });
  return ["", "| option | |", "|---|---|", ...rows];
}

function commandLines(command: Command, path: string): readonly string[] {
  if (command.commands.length > 0) {
    const inner = command.commands.flatMap((one) => commandLines(one, `${path} ${one.name()}`));
    return ["", `## ${path}`, "", `${sentence(command.description())}`, ...inner];
  }
  const given = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
    return argument.required ? ` <${name}>` : ` [${name}]`;
  });
  return ["", `### \`${path}${given.join("")}\``, "", sentence(command.description()), ...optionRows(command)];
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function cliPage(): string {
  const program = buildProgram();
  const [groups, alone] = [true, false].map((wanted) =>
    program.commands.filter((command) => command.commands.length > 0 === wanted),
  );
  const lines = (commands: readonly Command[] = []) =>
    commands.flatMap((command) => commandLines(command, `countersign ${command.name()}`));
  return page([
    "# The command line",
    generated,
    "",
    "Run it as `npx countersign …` in a checkout. Exit codes: 0 done, 1 refused or refuted, 2 usage or environment.",
    ...optionRows(program),
    ...lines(groups),
    "",
    "## Processes",
    ...lines(alone),
  ]);
}

/** The comment above a code says more than its name. */
function commentOf(code: string, source: string): string {
  return new RegExp(String.raw`/\*\* ([^\n]*?) \*/\n\s*${code}:`).exec(source)?.[1] ?? "";
}

function errorsPage(): string {
  const source = readFileSync(new URL("src/api/error-codes.ts", root), "utf8");
  const rows = Object.entries(errorCodes).map(
    ([code, { status, retryable }]) =>
      `| \`${code}\` | ${status} | ${retryable ? "yes" : ""} | ${cell(commentOf(code, source))} |`,
  );
  return page([
    "# Error codes of the API",
    generated,
    "",
    'An error\'s body is `{"error": {"code", "message", "hint"}}`. Where `retry` says yes, the same request may go well later.',
    "Codes are never given another meaning.",
    "",
    "| code | status | retry | |",
    "|---|---|---|---|",
    ...rows,
  ]);
}

function page(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(new URL(path, root), "utf8");
  } catch {
    return undefined;
  }
}

const pages = { "docs/cli.md": cliPage(), "docs/errors.md": errorsPage() };
const stale = Object.entries(pages).filter(([path, text]) => textOf(path) !== text);
if (process.argv.includes("--check")) {
  for (const [path] of stale) console.log(`${path} is not what the code says: node scripts/docs.ts`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const [path, text] of stale) writeFileSync(new URL(path, root), text);
  console.log(stale.length === 0 ? "nothing to write" : `wrote ${stale.map(([path]) => path).join(", ")}`);
}
