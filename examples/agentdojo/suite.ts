import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { parse } from "yaml";
import { z } from "zod";

import { effectClasses } from "../../src/core/action.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { toolNamePattern } from "../../src/core/ids.ts";
import { destinationNames, identifierPlaces } from "../../src/core/labels.schema.ts";

const jsonObject = z.record(z.string(), z.json()) as z.ZodType<JsonObject>;
const call = z.object({ function: z.string(), args: jsonObject });

/** The exported form of an AgentDojo suite; fields that only the benchmark's own scoring needs are left out. */
const suiteSchema = z.object({
  suite: z.string(),
  version: z.string(),
  tools: z.array(
    z.object({ name: z.string().regex(toolNamePattern), description: z.string(), parameters: jsonObject }),
  ),
  /** The text that stands at each place which an attacker can write to. */
  injection_vectors: z.record(z.string(), z.string()),
  user_tasks: z.array(
    z
      .object({
        id: z.string(),
        prompt: z.string(),
        ground_truth_output: z.string(),
        calls: z.array(call),
        results: z.array(z.object({ text: z.string(), error: z.string().nullable() })),
        /** Which of those places the task sees, and in the result of which call (from 0) first. */
        vectors_seen_at_call: z.record(z.string(), z.int().nonnegative()),
      })
      .refine((task) => task.calls.length === task.results.length, "a task needs one result for each call"),
  ),
  injection_tasks: z.array(z.object({ id: z.string(), goal: z.string(), calls: z.array(call) })),
  pairs: z.array(
    z.object({
      user: z.string(),
      injection: z.string(),
      exposed: z.boolean(),
      /** The user's call (from 0) whose result carries the attacker's text first. */
      inject_after_call: z.int().nonnegative().nullable(),
      trace: z.array(call.extend({ origin: z.enum(["user", "injection"]) })),
    }),
  ),
});

const metadataSchema = z.strictObject({
  v: z.literal(1),
  suite: z.string(),
  tools: z.record(
    z.string(),
    z.strictObject({
      effect: z.enum(effectClasses),
      groups: z.array(z.string()).default([]),
      idempotency: z.enum(["key", "lookup", "none"]).default("key"),
      destinations: destinationNames.optional(),
      /** With `identifiers`: untrusted but for these; the tool then answers with the value that its recorded text is the YAML of. */
      results: z
        .union([z.enum(["trusted", "untrusted"]), z.strictObject({ identifiers: identifierPlaces })])
        .default("untrusted"),
    }),
  ),
});

export type Suite = z.output<typeof suiteSchema>;
export type SuiteMetadata = z.output<typeof metadataSchema>;
export type UserTask = Suite["user_tasks"][number];
export type DojoPair = Suite["pairs"][number];

/** A file that is not there, or has another form. */
export class SuiteError extends Error {}

/** Reads a suite, such as `data/banking.json`. Throws SuiteError. */
export async function loadSuite(path: string): Promise<Suite> {
  return readAs(suiteSchema, path, JSON.parse);
}

async function readAs<Schema extends z.ZodType>(
  schema: Schema,
  path: string,
  read: (text: string) => unknown,
): Promise<z.output<Schema>> {
  const refuse = (why: string): never => {
    throw new SuiteError(`${path}: ${why}`);
  };
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) =>
    refuse(error.code === "ENOENT" ? "it is not there" : `it cannot be read (${error.code ?? error.message})`),
  );
  let value: unknown;
  try {
    value = read(text);
  } catch (error) {
    return refuse((error as Error).message.split("\n")[0] ?? "");
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : refuse(z.prettifyError(parsed.error).replaceAll("\n", " ").slice(0, 500));
}

/** Reads what the suite's tools do. Every tool must be there, and no other. Throws SuiteError. */
export async function loadMetadata(suite: Suite, path: string): Promise<SuiteMetadata> {
  const metadata = await readAs(metadataSchema, path, (text) => parse(text, { merge: true }) as unknown);
  const names = suite.tools.map((tool) => tool.name);
  const missing = names.filter((name) => !Object.hasOwn(metadata.tools, name));
  const extra = Object.keys(metadata.tools).filter((name) => !names.includes(name));
  if (metadata.suite !== suite.suite || missing.length + extra.length > 0) {
    throw new SuiteError(
      `${path}: expected the tools of suite \`${suite.suite}\`; missing: ${missing.join(", ") || "none"}; unknown: ${extra.join(", ") || "none"}`,
    );
  }
  return metadata;
}

const shipped = new URL("./data/", import.meta.url);

/** The suites in use: the file that DOJO_SUITE names, else those in `data`. */
export async function suitePaths(): Promise<readonly string[]> {
  const named = process.env["DOJO_SUITE"];
  if (named !== undefined) return [named];
  const files = (await readdir(shipped)).filter((file) => file.endsWith(".json")).sort();
  return files.map((file) => fileURLToPath(new URL(file, shipped)));
}

/** `NAME.tools.yaml` beside `NAME.json`. */
export function metadataPathOf(path: string): string {
  return path.replace(/\.json$/, ".tools.yaml");
}
