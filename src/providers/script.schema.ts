import { z } from "zod";

import { CodedError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { parseYaml } from "../core/yaml-document.schema.ts";
import { templateProblems } from "./script-check.ts";
import { compileWhen } from "./script-template.ts";

/**
 * Scripts are data that a scripted model plays: for tests, demos and benchmarks without a key or an account.
 * The fields are described at the schemas below; `examples/support/script.yaml` uses most of them.
 */
export class ScriptError extends CodedError<"script_invalid" | "port_taken"> {}

const regexText = z.string().superRefine((text, context) => {
  try {
    compileWhen(text);
  } catch {
    context.addIssue({ code: "custom", message: "not a regular expression" });
  }
});

const json: z.ZodType<Json> = z.json();

const callSchema = z
  .strictObject({
    tool: z.string().min(1),
    /** Strings in it are templates. */
    arguments: z.record(z.string(), json).optional(),
    /** The arguments' text as it is, for what is not JSON. */
    argumentsText: z.string().optional(),
  })
  .refine(
    (call) => call.arguments === undefined || call.argumentsText === undefined,
    "arguments and argumentsText exclude each other",
  );

/** Only the first `first` requests for this turn meet the fault, then one passes; absent: all meet it. */
const first = z.int().positive().optional();

const faultSchema = z.discriminatedUnion("kind", [
  /** An OpenAI error object with this status. `headers` go with it, such as `retry-after`. */
  z.strictObject({
    kind: z.literal("status"),
    status: z.int().min(300).max(599),
    errorCode: z.string().optional(),
    headers: z.record(z.string(), z.string()).default({}),
    first,
  }),
  /** A web page, as proxies send them. */
  z.strictObject({ kind: z.literal("html"), status: z.int().min(200).max(599).default(200), first }),
  /** Status 200, and JSON that is cut (a stream: an event that is). */
  z.strictObject({ kind: z.literal("malformed_json"), first }),
  /** A completion without any choice. */
  z.strictObject({ kind: z.literal("empty_choices"), first }),
  z.strictObject({ kind: z.literal("missing_usage"), first }),
  /** The answer ends half-way: a stream without its end, a body shorter than its content-length. */
  z.strictObject({ kind: z.literal("truncated"), first }),
  /** The answer's text is this long. */
  z.strictObject({ kind: z.literal("oversized"), bytes: z.int().positive(), first }),
  /** The connection is closed without an answer. */
  z.strictObject({ kind: z.literal("disconnect"), first }),
  /** No answer, until the client gives up. */
  z.strictObject({ kind: z.literal("hang"), first }),
]);

const usageSchema = z.strictObject({
  input: z.int(),
  cachedInput: z.int().default(0),
  output: z.int(),
  reasoning: z.int().default(0),
});

/** One answer of the model. */
const turnSchema = z
  .strictObject({
    text: z.string().optional(),
    /** The answer as JSON text. Strings in it are templates; one that is a single template keeps its value's type. */
    json: json.optional(),
    calls: z.array(callSchema).min(1).optional(),
    /** Reported instead of the usual count: for wrong ones. */
    usage: usageSchema.optional(),
    /** Milliseconds before each piece of the stream (of the one answer: all of them together). */
    delayMs: z.int().nonnegative().default(0),
    /** This turn for ever: a model that never comes to an end. Only on the last one. */
    repeat: z.boolean().default(false),
    fault: faultSchema.optional(),
  })
  .refine(
    (turn) => turn.text !== undefined || turn.json !== undefined || turn.calls !== undefined,
    "a turn needs text, json or calls",
  )
  .refine(
    (turn) => turn.json === undefined || (turn.text === undefined && turn.calls === undefined),
    "json stands alone in its turn",
  );

const turnsSchema = z
  .array(turnSchema)
  .min(1)
  .refine((turns) => turns.slice(0, -1).every((turn) => !turn.repeat), "only the last turn can repeat");

/** Where the conversation goes on instead, once a tool's result is of this kind. The exit whose result came last wins. */
const exitSchema = z.strictObject({
  result: z.string().min(1),
  /** `denied`: policy or a reviewer said no; `error`: the tool failed; `ok`: neither. */
  status: z.enum(["ok", "error", "denied"]),
  /** Found in the result's text. */
  matches: regexText.optional(),
  turns: turnsSchema,
});

const branchSchema = z.strictObject({
  name: z.string().min(1),
  /** Found in the user's message; its named groups are templates' names. The first branch that matches is played. */
  when: regexText,
  /** Must be found in the system prompt as well: for an agent that does otherwise with another one. */
  system: regexText.optional(),
  /** An input that leads here, for the fallback's list of what the script knows. */
  example: z.string().optional(),
  /** The answer after the n-th assistant message since the user's is turn n, from 0. */
  turns: turnsSchema,
  exits: z.array(exitSchema).default([]),
});

const scriptSchema = z
  .strictObject({
    v: z.literal(1),
    /** The model's whole name. */
    model: z.string().startsWith("scripted/"),
    /** False: `{{` has no meaning. */
    templates: z.boolean().default(true),
    branches: z.array(branchSchema).min(1),
    /** The answer to what no branch knows. `{{inputs}}` is the list of examples. */
    fallback: turnSchema.default({
      text: "I am a scripted model, and know these inputs:\n{{inputs}}",
      delayMs: 0,
      repeat: false,
    }),
  })
  .superRefine((script, context) => {
    if (!script.templates) return;
    for (const problem of templateProblems(script))
      context.addIssue({ code: "custom", path: [...problem.path], message: problem.message });
  });

export type Script = z.output<typeof scriptSchema>;
/** The same before defaults: what one writes in code. */
export type ScriptInput = z.input<typeof scriptSchema>;
export type Branch = Script["branches"][number];
export type Turn = z.output<typeof turnSchema>;
export type Fault = z.output<typeof faultSchema>;

/** A script written in code. Throws `script_invalid`. */
export function defineScript(script: ScriptInput): Script {
  const parsed = scriptSchema.safeParse(script);
  if (parsed.success) return parsed.data;
  throw invalid(
    parsed.error.issues.map((issue) => `${issue.path.map(String).join(".") || "script"}: ${issue.message}`),
  );
}

/** A script from YAML (or JSON). Throws `script_invalid` with file, line, column and path of each problem. */
export function parseScript(text: string, fileName: string): Script {
  const parsed = parseYaml(text, scriptSchema);
  if (parsed.ok) return parsed.value;
  throw invalid(
    parsed.problems.map(({ line, column, path, message }) => {
      return `${fileName}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`;
    }),
  );
}

function invalid(problems: readonly string[]): ScriptError {
  return new ScriptError("script_invalid", problems.join("; "), {
    hint: "src/providers/script.schema.ts describes the fields, examples/support/script.yaml uses most of them",
  });
}
