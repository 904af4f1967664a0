import { createHash } from "node:crypto";

import type { Json } from "../core/json.ts";
import type { Message, ModelToolCall } from "../core/transcript.ts";
import type { Branch, Script, Turn } from "./script.schema.ts";
import { compileWhen, fill, fillText, TemplateProblem } from "./script-template.ts";
import type { TemplateValues } from "./script-template.ts";

/** What a script does at one point of a conversation. */
export type Play =
  | {
      readonly kind: "answer";
      /** The branch's name; undefined: the fallback. */
      readonly branch: string | undefined;
      readonly content: string;
      readonly calls: readonly ModelToolCall[];
      /** Delay, fault and usage are in it. */
      readonly turn: Turn;
      /** Names this point of this conversation: the same messages give the same. */
      readonly key: string;
    }
  /** The script cannot go on here: its author's mistake, or a conversation that it does not foresee. */
  | { readonly kind: "stuck"; readonly message: string };

/**
 * The script's next answer, a function of the conversation alone: the scripted model keeps no state of its own (its faults do).
 * A user message that no branch knows goes on with the branch of an earlier one while it has turns: so a branch can answer the
 * request to repair an answer.
 */
export function play(script: Script, messages: readonly Message[]): Play {
  const key = createHash("sha256")
    .update(JSON.stringify([script.model, messages]))
    .digest("hex");
  const found = findBranch(script, messages);
  const turn = found === undefined ? undefined : turnOf(found.branch, messages.slice(found.at + 1));
  if (found === undefined || (turn === undefined && found.at !== lastUser(messages)))
    return answer(script, undefined, script.fallback, fallbackValues(script), key);
  if (turn === undefined) return { kind: "stuck", message: `branch \`${found.branch.name}\` has no more turns` };
  return answer(script, found.branch.name, turn, { names: found.names, results: resultsOf(messages) }, key);
}

type Found = { readonly branch: Branch; readonly names: Readonly<Record<string, string>>; readonly at: number };

function findBranch(script: Script, messages: readonly Message[]): Found | undefined {
  const system = messages.find((message) => message.role === "system")?.content ?? "";
  for (let at = messages.length - 1; at >= 0; at -= 1) {
    const message = messages[at];
    if (message?.role !== "user") continue;
    for (const branch of script.branches) {
      if (branch.system !== undefined && !compileWhen(branch.system).test(system)) continue;
      const match = compileWhen(branch.when).exec(message.content);
      if (match !== null) return { branch, names: definedGroups(match.groups), at };
    }
  }
  return undefined;
}

function definedGroups(
  groups: Readonly<Record<string, string | undefined>> | undefined,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(groups ?? {}).flatMap(([name, text]) => (text === undefined ? [] : [[name, text]])),
  );
}

function lastUser(messages: readonly Message[]): number {
  return messages.findLastIndex((message) => message.role === "user");
}

/** `since`: the messages after the user's. */
function turnOf(branch: Branch, since: readonly Message[]): Turn | undefined {
  const exit = lastExit(branch, since);
  const turns = exit === undefined ? branch.turns : exit.turns;
  const answered = since
    .slice(exit === undefined ? 0 : exit.at + 1)
    .filter((message) => message.role === "assistant").length;
  const last = turns.at(-1);
  return turns[answered] ?? (last?.repeat === true ? last : undefined);
}

function lastExit(branch: Branch, since: readonly Message[]): { turns: readonly Turn[]; at: number } | undefined {
  const names = callNames(since);
  for (let at = since.length - 1; at >= 0; at -= 1) {
    const message = since[at];
    if (message?.role !== "tool") continue;
    const tool = names.get(message.callId);
    const exit = branch.exits.find(
      (candidate) =>
        candidate.result === tool &&
        candidate.status === statusOf(message.content) &&
        (candidate.matches === undefined || compileWhen(candidate.matches).test(message.content)),
    );
    if (exit !== undefined) return { turns: exit.turns, at };
  }
  return undefined;
}

function callNames(messages: readonly Message[]): ReadonlyMap<string, string> {
  const calls = messages.flatMap((message) => (message.role === "assistant" ? message.toolCalls : []));
  return new Map(calls.map((call) => [call.id, call.name]));
}

/** A tool's result reads `{"denied": CODE, …}`, `{"error": MESSAGE}`, or anything else: see core/transcript.ts. */
function statusOf(content: string): "ok" | "error" | "denied" {
  const value = jsonOf(content);
  if (typeof value !== "object" || value === null) return "ok";
  return "denied" in value ? "denied" : "error" in value ? "error" : "ok";
}

function jsonOf(content: string): Json {
  try {
    return JSON.parse(content) as Json;
  } catch {
    return content;
  }
}

function resultsOf(messages: readonly Message[]): ReadonlyMap<string, readonly Json[]> {
  const names = callNames(messages);
  const results = new Map<string, Json[]>();
  for (const message of messages) {
    const tool = message.role === "tool" ? names.get(message.callId) : undefined;
    if (message.role !== "tool" || tool === undefined) continue;
    results.set(tool, [...(results.get(tool) ?? []), jsonOf(message.content)]);
  }
  return results;
}

function fallbackValues(script: Script): TemplateValues {
  const inputs = script.branches.map((branch) => `- ${branch.example ?? branch.name}`).join("\n");
  return { names: { inputs }, results: new Map() };
}

function answer(script: Script, branch: string | undefined, turn: Turn, values: TemplateValues, key: string): Play {
  const filled = script.templates || branch === undefined;
  const json = (value: Json) => (filled ? fill(value, values) : value);
  const text = (value: string) => (filled ? fillText(value, values) : value);
  try {
    const content = turn.json === undefined ? text(turn.text ?? "") : JSON.stringify(json(turn.json));
    const calls = (turn.calls ?? []).map((call, index) => ({
      id: `call_${createHash("sha256").update(`${key}:${index}`).digest("hex").slice(0, 24)}`,
      name: call.tool,
      arguments:
        call.argumentsText === undefined ? JSON.stringify(json(call.arguments ?? {})) : text(call.argumentsText),
    }));
    return { kind: "answer", branch, content, calls, turn, key };
  } catch (error) {
    if (error instanceof TemplateProblem)
      return { kind: "stuck", message: `${branch ?? "fallback"}: ${error.message}` };
    throw error;
  }
}
