import type { Action } from "../../core/action.ts";
import type { ModelStepInput, ToolStepInput } from "../../core/contract.ts";
import type { DenialCode } from "../../core/decision.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { FlowFacts } from "../../core/labels.ts";
import { ceilingOf } from "../../core/money.ts";
import type { TokenPrice } from "../../core/money.ts";
import { callablesOf, kindOf } from "../../core/retrieval.ts";
import type { Callable, CallKind } from "../../core/retrieval.ts";
import type { ModelResult, ModelToolCall } from "../../core/transcript.ts";
import { contentDigest } from "../../store/canonical.ts";
import { parseArguments } from "../../tools/arguments.ts";
import { inputTokenBound } from "../budgets/token-bound.ts";
import { flowFacts } from "../flow/facts.ts";
import type { Flow } from "../flow/flow.ts";
import type { RunContext } from "../governed-call.ts";
import type { Conversation } from "../run/head.ts";

/** What a step asks for, worked out from the record: nothing of it comes from the workflow but which step it is. */
export type ResolvedStep = ResolvedModelStep | ResolvedToolStep;

type Resolved = {
  readonly seq: number;
  readonly name: string;
  readonly arguments: Digest;
  readonly action: Action;
  readonly actionDigest: Digest;
  /** The most it can cost, in micro-USD. */
  readonly hold: number;
  /** The most tokens that it can take, input and output together. */
  readonly holdTokens: number;
  /** Where its values came from. */
  readonly flow: FlowFacts;
  /** Allowed to be recorded, and not to be made. */
  readonly shadow?: boolean;
  /** Set where it is denied whatever the policy says. */
  readonly refusal?: { readonly code: DenialCode; readonly text: string };
};

export type ResolvedModelStep = Resolved & {
  readonly kind: "model";
  readonly conversation: Conversation;
  /** What `hold` was worked out with. */
  readonly price?: TokenPrice;
  readonly maxOutputTokens: number;
};

/** A tool call or a retrieval. */
export type ResolvedToolStep = Resolved & {
  readonly kind: CallKind;
  readonly askedBy: number;
  readonly callIndex: number;
  readonly callId: string;
  readonly tool: Callable | undefined;
  readonly args: JsonObject;
  /** The same call with other arguments: another action. Absent where the call is refused whatever they are. */
  readonly withArguments?: (args: JsonObject) => ResolvedToolStep;
};

export function resolveModelStep(
  run: RunContext,
  input: ModelStepInput,
  conversation: Conversation,
  price: TokenPrice | undefined,
): ResolvedModelStep {
  const { model } = run.release.document;
  const args = {
    messages: conversation.messages.length,
    transcript: conversation.head,
    maxOutputTokens: model.maxOutputTokens,
  };
  const inputTokens = inputTokenBound(conversation.messages, run.release.document);
  return {
    kind: "model",
    conversation,
    flow: flowFacts(conversation.flow),
    ...heldFor(inputTokens, model.maxOutputTokens, price),
    ...bound(run, input.seq, "model", model.name, args),
    ...(price === undefined
      ? {
          refusal: {
            code: "no_price" as const,
            text: `no price is known for model \`${model.name}\`, so its cost cannot be bounded`,
          },
        }
      : { price }),
  };
}

function heldFor(inputTokens: number, maxOutputTokens: number, price: TokenPrice | undefined) {
  const hold = price === undefined ? 0 : ceilingOf(inputTokens, maxOutputTokens, price);
  return { maxOutputTokens, hold, holdTokens: inputTokens + maxOutputTokens };
}

/** The step as it is made, where obligations change it: still the action that was asked for. */
export function madeWith<Step extends ResolvedStep>(step: Step, effective: JsonObject | undefined): Step {
  if (effective === undefined) return step;
  if (step.kind !== "model") return { ...step, args: effective };
  const { maxOutputTokens } = effective;
  if (typeof maxOutputTokens !== "number") throw new TypeError("of a model call, only its tokens are changed");
  return { ...step, ...heldFor(step.holdTokens - step.maxOutputTokens, maxOutputTokens, step.price) };
}

/** A call of a model's answer, by the name that it is recorded under. */
export type CalledTool = {
  readonly kind: CallKind;
  readonly name: string;
  readonly call: ModelToolCall;
  readonly tool: Callable | undefined;
};

/** Undefined where the answer has no such call. */
export function calledIn(run: RunContext, asked: ModelResult, index: number): CalledTool | undefined {
  const call = asked.toolCalls[index];
  if (call === undefined) return undefined;
  const tool = callablesOf(run.release.document).find((candidate) => candidate.name === call.name);
  return { kind: kindOf(tool ?? {}), name: shownName(call.name), call, tool };
}

/** Undefined where the answer has no such call. */
export function resolveToolStep(
  run: RunContext,
  input: ToolStepInput,
  asked: ModelResult,
  /** Of the conversation that the asking model was shown. */
  flow: Flow,
): ResolvedToolStep | undefined {
  const called = calledIn(run, asked, input.call);
  return called && resolveCall(run, input, called, flow);
}

/** The same of a call that is found already. */
export function resolveCall(
  run: RunContext,
  input: ToolStepInput,
  { kind, name, call, tool }: CalledTool,
  flow: Flow,
): ResolvedToolStep {
  const common = {
    kind,
    askedBy: input.model,
    callIndex: input.call,
    callId: call.id,
    tool,
    hold: 0,
    holdTokens: 0,
  } as const;
  if (tool === undefined) {
    const refusal = { code: "unknown_tool", text: `there is no tool \`${name}\`` } as const;
    return { ...common, args: {}, flow: flowFacts(flow), refusal, ...boundText(run, input.seq, kind, call) };
  }
  const parsed = argumentsIn(call.arguments, tool, flow);
  if (!parsed.ok) {
    const refusal = { code: "invalid_arguments", text: parsed.problem } as const;
    return { ...common, args: {}, flow: flowFacts(flow), refusal, ...boundText(run, input.seq, kind, call) };
  }
  return calling(run, input.seq, { ...common, tool }, flow, parsed.value);
}

/** By the first three rules, they were as many as there were. */
function argumentsIn(text: string, { parameters }: Callable, { rules }: Flow): ReturnType<typeof parseArguments> {
  return rules < 4 ? parseArguments(text, parameters, Infinity) : parseArguments(text, parameters);
}

function calling(
  run: RunContext,
  seq: number,
  common: Pick<ResolvedToolStep, "kind" | "askedBy" | "callIndex" | "callId" | "hold" | "holdTokens"> & {
    readonly tool: Callable;
  },
  flow: Flow,
  args: JsonObject,
): ResolvedToolStep {
  const { tool, kind } = common;
  return {
    ...common,
    args,
    flow: flowFacts(flow, { tool, args }),
    ...bound(run, seq, kind, tool.name, args),
    withArguments(changed) {
      const parsed = argumentsIn(JSON.stringify(changed), tool, flow);
      if (parsed.ok) return calling(run, seq, common, flow, parsed.value);
      const refusal = { code: "invalid_arguments", text: parsed.problem } as const;
      return { ...common, args: {}, flow: flowFacts(flow), refusal, ...bound(run, seq, kind, tool.name, changed) };
    },
  };
}

function bound(run: RunContext, seq: number, kind: "model" | CallKind, name: string, args: JsonObject) {
  const action: Action = {
    v: 1,
    team: run.team,
    agent: run.agent,
    release: run.release.digest,
    run: run.id,
    seq,
    kind,
    name,
    arguments: args,
  };
  return {
    seq,
    name,
    arguments: contentDigest(run.salt, args),
    action,
    actionDigest: contentDigest(run.salt, action as unknown as Json),
  };
}

/** For calls that are not even JSON: the action holds the model's text as it is. */
function boundText(run: RunContext, seq: number, kind: CallKind, call: ModelToolCall) {
  return bound(run, seq, kind, shownName(call.name), { text: call.arguments.toWellFormed() });
}

/** A model may invent any name, of any length; Postgres keeps no NUL in a text. */
export function shownName(name: string): string {
  return name.toWellFormed().replaceAll("\0", "\uFFFD").slice(0, 64).toWellFormed();
}
