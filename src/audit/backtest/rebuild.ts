import { noFacts } from "../../core/decision.ts";
import type { HistoryFact, RunFacts } from "../../core/decision.ts";
import { codeOf } from "../../core/errors.ts";
import type { Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Release } from "../../core/release.ts";
import { callablesOf, callKinds, kindOf } from "../../core/retrieval.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { countRunHistory, policyRequestOf, redactionByText } from "../../gate/index.ts";
import type { CountedStep, ResolvedStep, RunContext } from "../../gate/index.ts";
import {
  actionOfTool,
  callAction,
  detectorPolicy,
  groupsOfTool,
  remotePolicy,
  responseAction,
} from "../../policy/index.ts";
import type { CompiledPolicies, PolicyRequest } from "../../policy/index.ts";
import { canonicalText, contentDigest } from "../../store/index.ts";
import { parseArguments } from "../../tools/index.ts";
import type { DecidedRun, DecidedStep } from "./pages.ts";

/** A recorded call as the engine is asked about it again. */
export type Rebuilt =
  | { readonly status: "ready"; readonly request: PolicyRequest }
  /** The gate denied it before the engine was asked: no policy changes that. */
  | { readonly status: "gate" }
  /** Why it cannot be asked again: names of facts, no contents. */
  | { readonly status: "lost"; readonly reason: string };

/** What is known of a policy set that decisions were recorded under: its facts by name. Undefined where the set cannot be read. */
export type DeclaredFacts = (policySet: Digest) => readonly HistoryFact[] | undefined;

/** Rebuilds the requests of one run's decisions. The arguments of a call are read once, whatever number of sets is asked. */
export function createRebuilder(run: DecidedRun, release: Release, team: string, declared: DeclaredFacts) {
  const context = contextOf(run, release, team);
  const actionsOf = createActions(release);
  const read = new Map<DecidedStep, JsonObject | string>();
  let counted: readonly (CountedStep & { readonly seq: number })[] | undefined;

  function argumentsOf(step: DecidedStep): JsonObject | string {
    const known = read.get(step) ?? readArguments(step, release, run.salt);
    read.set(step, known);
    return known;
  }

  /** The run's intents, oldest first. */
  function intents(): readonly (CountedStep & { readonly seq: number })[] {
    counted ??= run.decisions
      .filter((step) => step.outcome === "allow" && step.facts.response === undefined)
      .map((step) => {
        const args = step.kind === "model" ? {} : argumentsOf(step);
        // A call whose arguments are lost still counts; a sum over it is refused below.
        const known = typeof args === "string" ? {} : args;
        return { kind: step.kind, name: step.name, arguments: known, at: step.at, seq: step.seq };
      });
    return counted;
  }

  function historyFor(step: DecidedStep, wanted: readonly HistoryFact[]): RunFacts["history"] | string {
    const before = declared(step.policySet) ?? [];
    const recorded = wanted.filter((fact) => isSameFact(fact, before) && Object.hasOwn(step.facts.history, fact.name));
    const others = wanted.filter((fact) => !recorded.includes(fact));
    const wide = others.find(({ per }) => per !== "run");
    if (wide !== undefined) return `fact ${wide.name} was not counted then, and only facts per run are counted again`;
    const earlier = intents().filter(({ seq, at }) => seq !== step.seq && at < step.at);
    if (others.some(({ measure }) => measure === "sum") && run.decisions.some(isUnreadable)) {
      return "a sum goes over arguments that cannot be read";
    }
    try {
      const again = countRunHistory(others, earlier, step.at, callablesOf(release.document), actionsOf);
      return { ...again, ...Object.fromEntries(recorded.map(({ name }) => [name, step.facts.history[name] ?? 0])) };
    } catch (error) {
      if (codeOf(error) === "history_uncountable") return "a sum cannot be counted";
      throw error;
    }
  }

  /** What an obligation changed was made with other arguments than the model asked for. */
  function isUnreadable(step: DecidedStep): boolean {
    if (step.kind === "model" || step.outcome !== "allow") return false;
    return step.effective !== null || typeof argumentsOf(step) === "string";
  }

  return (step: DecidedStep, policies: CompiledPolicies | undefined): Rebuilt => {
    if (isOfTheGate(step)) return { status: "gate" };
    if (run.input === undefined || context === undefined) return lost("the run's input cannot be read");
    if (!hasShapeOf(noFacts, step.facts)) return lost("its facts were recorded by an older version");
    const resolved = resolve(step, argumentsOf);
    if (typeof resolved === "string") return lost(resolved);
    const redacted = redactionFor(step, release);
    if (redacted === undefined && isRedacted(step, policies)) return lost("the answer cannot be read");
    const action = actionOf(step);
    const history = historyFor(step, policies?.slices.get(action)?.history ?? []);
    if (typeof history === "string") return lost(history);
    return { status: "ready", request: policyRequestOf(context, resolved, { ...step.facts, history }, redacted) };
  };
}

function redactionFor({ facts, answer }: DecidedStep, { document }: Release) {
  if (facts.response === undefined || answer === undefined) return undefined;
  return redactionByText(document, facts.response, answer as unknown as ModelResult);
}

/** What becomes of the answer cannot be told without it. */
function isRedacted({ facts, effective }: DecidedStep, policies: CompiledPolicies | undefined): boolean {
  if (facts.response === undefined) return false;
  const owed = [...(policies?.policies.values() ?? [])].some(
    ({ obligation }) => obligation !== undefined && "dataClasses" in obligation,
  );
  return owed || effective !== null;
}

const gateCodes: ReadonlySet<string> = new Set([
  "unknown_tool",
  "invalid_arguments",
  "no_price",
  "declined",
  "approval_expired",
  "invalid_grant",
]);

function actionOf({ kind, name, facts }: DecidedStep): string {
  if (facts.response !== undefined) return responseAction;
  return callAction(kind, name);
}

/** Denied by the gate itself, or by a remote decision point. `gate:undecidable` is not: another set may fit the release, or want nothing counted. */
function isOfTheGate({ outcome, code, policies }: DecidedStep): boolean {
  return (
    outcome === "deny" &&
    (gateCodes.has(code ?? "") || policies.some((id) => id === remotePolicy || id === detectorPolicy))
  );
}

function lost(reason: string): Rebuilt {
  return { status: "lost", reason };
}

function contextOf(run: DecidedRun, release: Release, team: string): RunContext | undefined {
  const { id, agent, requestedBy, input } = run;
  if (input === undefined) return undefined;
  return { id, team, agent, requestedBy, release, input, inputDigest: release.digest };
}

/** As much of a step as the engine is asked about. */
function resolve(step: DecidedStep, argumentsOf: (step: DecidedStep) => JsonObject | string): ResolvedStep | string {
  if (step.kind === "model") return { kind: "model", name: step.name } as ResolvedStep;
  if (!callKinds.some((kind) => kind === step.kind)) return `steps of kind ${step.kind} are not decided again`;
  const args = argumentsOf(step);
  return typeof args === "string" ? args : ({ kind: step.kind, name: step.name, args } as unknown as ResolvedStep);
}

/** The arguments that were decided on, checked against the digest that the step is recorded with; or why there are none. */
function readArguments(step: DecidedStep, { document }: Release, salt: string | undefined): JsonObject | string {
  if ((step.edit ?? null) !== null) return "a reviewer had changed the call";
  const call = (step.asked as unknown as ModelResult | undefined)?.toolCalls?.[step.callIndex ?? -1];
  if (call === undefined) return "the call's arguments cannot be read";
  const tool = callablesOf(document).find((one) => one.name === step.name && kindOf(one) === step.kind);
  if (tool === undefined) return `the release has no such ${step.kind}`;
  const parsed = parseArguments(call.arguments, tool.parameters);
  if (!parsed.ok) return "the call's arguments do not fit the tool";
  return contentDigest(salt, parsed.value) === step.arguments
    ? parsed.value
    : "the call's arguments are not the recorded ones";
}

/** The Cedar action of a call, with its groups. */
export function createActions({ document }: Release): (step: CountedStep) => readonly string[] {
  const known = new Map(
    callablesOf(document).map((tool) => [actionOfTool(tool), [actionOfTool(tool), ...groupsOfTool(tool)]]),
  );
  return ({ kind, name }) => known.get(callAction(kind, name)) ?? [callAction(kind, name)];
}

function isSameFact(fact: HistoryFact, declared: readonly HistoryFact[]): boolean {
  const other = declared.find(({ name }) => name === fact.name);
  return other !== undefined && canonicalText(other) === canonicalText(fact);
}

/** Whether `value` has all that `model` has, of the same types. */
function hasShapeOf(model: unknown, value: unknown): boolean {
  if (typeof model !== typeof value || Array.isArray(model) !== Array.isArray(value)) return false;
  if (typeof model !== "object" || model === null || Array.isArray(model)) return true;
  const given = value as Readonly<Record<string, unknown>> | null;
  return given !== null && Object.entries(model).every(([name, inner]) => hasShapeOf(inner, given[name]));
}
