import type { EffectClass, StepKind } from "../../core/action.ts";
import type { JsonObject } from "../../core/json.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { StepRecord } from "../../core/run-record.ts";
import type { ToolResult } from "../../core/transcript.ts";
import type { EffectOutcome, GovernedToolCall } from "../../gate/index.ts";
import { canonicalText, contentDigest } from "../../store/canonical.ts";
import { digestIfPossible } from "./plan.ts";
import type { ForkPlan } from "./plan.ts";
import { lastDecision } from "./history.ts";

export const effectAnswers = ["stub", "recorded"] as const;
/** What a call that would have had an effect is told: that it was not made, or what the same call was told in the record. */
export type EffectAnswers = (typeof effectAnswers)[number];

/** A call that the fork's gate let through, and what stood for the tool's answer. Nothing was called. */
export type AnsweredCall = {
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly effect: EffectClass;
  readonly arguments: JsonObject;
  /** The recorded step whose result was given; null: there was none to give, or it was not to be given. */
  readonly recorded: number | null;
};

export type ForkAnswers = {
  readonly answer: (call: GovernedToolCall) => Promise<EffectOutcome>;
  readonly answered: () => readonly AnsweredCall[];
};

type Answer = { readonly seq: number; readonly result: ToolResult };

/**
 * What stands in the place of the release's tools: for a call of a tool that reads, what the record says that the same tool answered to the
 * same arguments (byte for byte in their RFC 8785 form), in the order of the record and then the last one again; else that the record has
 * no answer. A call with an effect is told that it was not made. There is no way from here to a tool.
 */
export function createForkAnswers(plan: ForkPlan, effects: EffectAnswers): ForkAnswers {
  const recorded = recordedAnswers(plan);
  // What came before the fork was answered once already.
  const used = new Map([...recorded].map(([key, answers]) => [key, answers.filter(({ seq }) => seq < plan.at).length]));
  const given = new Map<number, { readonly call: AnsweredCall; readonly result: ToolResult }>();

  function next(key: string, seq: number): Answer | undefined {
    const answers = recorded.get(key) ?? [];
    // Parallel calls are answered in any order: the same place has the same answer.
    const same = answers.find((one) => one.seq === seq);
    const place = used.get(key) ?? 0;
    used.set(key, place + 1);
    return same ?? answers[place] ?? answers.at(-1);
  }

  return {
    // Keyed by the step, as every attempt of it has to get the same.
    async answer({ kind, seq, tool, args }) {
      const known = given.get(seq);
      if (known !== undefined) return { status: "result", kind, result: known.result };
      const { name, effect } = tool;
      const found =
        effect === "read" || effects === "recorded" ? next(keyOf(plan.record.salt, kind, name, args), seq) : undefined;
      const call = { seq, kind, name, effect, arguments: args, recorded: found?.seq ?? null };
      const result = found?.result ?? (effect === "read" ? unanswered(name) : notMade(call));
      given.set(seq, { call, result });
      return { status: "result", kind, result };
    },
    answered: () => [...given.values()].map(({ call }) => call).toSorted((a, b) => a.seq - b.seq),
  };
}

function recordedAnswers({ record }: ForkPlan): ReadonlyMap<string, readonly Answer[]> {
  const tools = new Set(callablesOf(record.release).map(({ name }) => name));
  const answers = new Map<string, Answer[]>();
  for (const step of record.steps) {
    const answer = tools.has(step.name) ? answerOf(record, step) : undefined;
    if (answer === undefined || lastDecision(record, step.seq)?.shadow === true) continue;
    // An obligation or a reviewer may have changed the call: the answer is to what was made.
    const made = lastDecision(record, step.seq)?.effective ?? step.arguments;
    const key = `${step.kind}/${step.name}/${made}`;
    answers.set(key, [...(answers.get(key) ?? []), answer]);
  }
  return answers;
}

/** Denied calls were never answered, and contents that are gone or wrong answer nothing. */
function answerOf({ payloads, salt }: ForkPlan["record"], { seq, kind, state, result }: StepRecord) {
  if (kind === "model" || result === null || (state !== "done" && state !== "failed")) return undefined;
  const value = payloads[result];
  if (digestIfPossible(value, salt) !== result) return undefined;
  const found = value as unknown as ToolResult;
  if (found.status === "denied") return undefined;
  // Said by the gate, of a change that a reviewer made then.
  const { changed: _, ...told } = found;
  return { seq, result: told as ToolResult };
}

function keyOf(salt: string | undefined, kind: StepKind, name: string, args: JsonObject): string {
  return `${kind}/${name}/${contentDigest(salt, args)}`;
}

function unanswered(name: string): ToolResult {
  return {
    status: "error",
    message: `this is a fork of a recorded run, in which \`${name}\` was not called with these arguments: there is no answer, and it was not called now`,
  };
}

function notMade({ name, effect, arguments: args }: AnsweredCall): ToolResult {
  return {
    status: "ok",
    value: {
      executed: false,
      note: `this is a fork of a recorded run: \`${name}\` was not called, and this has had no effect`,
      would: { tool: name, effect, arguments: JSON.parse(canonicalText(args)) as JsonObject },
    },
  };
}
