import { LRUCache } from "lru-cache";

import type { ValidationError } from "@cedar-policy/cedar-wasm/nodejs";

import type { HistoryFact } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { digestOf, sha256 } from "../store/canonical.ts";
import { amountProblems } from "./amounts.ts";
import { reader } from "./engine.ts";
import { PolicyError, refuseErrors } from "./errors.ts";
import type { PolicyProblem } from "./errors.ts";
import { historyProblems } from "./history-facts.ts";
import { evaluator, policySlice } from "./evaluator.ts";
import { obligationProblems } from "./obligations.ts";
import { placeOf } from "./places.ts";
import { messageOf, readPolicy } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import { locate, parsePolicySet } from "./policy-set.ts";
import type { PolicySetDocument, PolicySources } from "./policy-set.ts";
import { classificationOf, schemaFor, schemaOf } from "./schema.ts";
import type { CedarSchema, PolicyTool } from "./schema.ts";
import { mentionsResponse, slicesOf } from "./slices.ts";
import type { ActionSlice } from "./slices.ts";
import { atOnce, inTurns } from "./turns.ts";
import type { Turns } from "./turns.ts";

/** A policy set made ready for one release's tools. */
export type CompiledPolicies = {
  readonly policySet: Digest;
  readonly tools: Digest;
  readonly policies: ReadonlyMap<string, ReadPolicy>;
  /** What the set wants counted before it decides. */
  readonly history: readonly HistoryFact[];
  readonly slices: ReadonlyMap<string, ActionSlice>;
};

/** Least recently used go first; what Cedar holds for them goes when its own limit is reached. */
const compilations = new LRUCache<string, CompiledPolicies>({ max: 64 });

/**
 * Makes a policy set ready to decide the calls of a release with these tools, once: it is memoised by content. A hit still hashes the
 * set: hold the result per policy set and release. Policies about tools that the release does not have apply to nothing, and are no
 * error.
 * Throws PolicyError `policies_invalid` (with every problem, at policy and line) or `tools_invalid`.
 */
export function compilePolicies(document: PolicySetDocument, tools: readonly PolicyTool[]): CompiledPolicies {
  return atOnce(compiling(document, tools, Number.POSITIVE_INFINITY));
}

/** Policies that Cedar validates at once: each time, it reads the schema again. */
const validatedAtOnce = 100;

/** The same for a thread that has other work: it gets its turn in between. */
export function compileInTurns(document: PolicySetDocument, tools: readonly PolicyTool[]): Promise<CompiledPolicies> {
  return inTurns(compiling(document, tools, validatedAtOnce));
}

function* compiling(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  together: number,
): Turns<CompiledPolicies> {
  const checked = parsePolicySet(document);
  const names = { policySet: contentDigest(checked, "policies_invalid"), tools: toolsDigest(tools) };
  const key = `${names.policySet}/${names.tools}`;
  const known = compilations.get(key);
  if (known !== undefined) return known;
  const { policies, problems } = yield* reading(checked);
  refuseErrors(problems);
  const mentioned = [...policies.values()].flatMap((policy) => policy.mentions);
  const history = checked.history ?? [];
  const invalid = yield* validating(policies, schemaOf(tools, mentioned, history), together);
  refuseErrors(invalid);
  const compiled = { ...names, policies, history, slices: slicesOf([...policies.values()], tools, history) };
  tryGroups(compiled);
  compilations.set(key, compiled);
  return compiled;
}

/** The groups of every action are seen to match before anything is decided. An engine that fails refuses the set: nothing is permitted then. */
function tryGroups({ slices }: CompiledPolicies): void {
  try {
    for (const slice of slices.values()) evaluator.hold(policySlice([]), slice.frame);
  } catch (cause) {
    if (cause instanceof PolicyError) throw cause;
    throw new PolicyError("policies_invalid", "the policy engine failed", { cause });
  }
}

/**
 * Everything wrong with a team's policy set, given all the tools of the team's agents: strict validation, so a
 * misspelt tool is an error here. Warnings are for policies that can never apply. With `sources`, problems are at
 * file and line. Throws only PolicyError `tools_invalid`.
 */
export function checkPolicySet(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources = new Map(),
): PolicyProblem[] {
  return atOnce(checking(document, tools, sources, Number.POSITIVE_INFINITY));
}

/** The same for a thread that has other work. */
export function checkInTurns(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources = new Map(),
): Promise<PolicyProblem[]> {
  return inTurns(checking(document, tools, sources, validatedAtOnce));
}

function* checking(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources,
  together: number,
): Turns<PolicyProblem[]> {
  let checked: PolicySetDocument;
  try {
    checked = parsePolicySet(document);
  } catch (error) {
    return [{ severity: "error", message: error instanceof Error ? error.message : "not a policy set" }];
  }
  const { policies, problems } = yield* reading(checked);
  const schema = schemaFor(tools, checked.history, mentionsResponse([...policies.values()]));
  const found = [...problems, ...worthSaying(yield* validating(policies, schema, together))];
  if (![...policies.values()].some((policy) => policy.effect === "permit")) {
    found.push({ severity: "warning", message: "no policy permits anything: every step will be denied" });
  }
  found.push(...obligationProblems(policies.values(), tools));
  yield;
  found.push(...amountProblems(policies.values(), tools));
  yield;
  found.push(...historyProblems(checked, tools, sources));
  return found.map((problem) => locate(problem, sources));
}

/**
 * Cedar warns of a policy without an action that could be asked about twice over: where its action is misspelt there is an error, and else
 * `lintPolicies` tells those that are meant for tools to come from those that are not.
 */
function worthSaying(problems: readonly PolicyProblem[]): readonly PolicyProblem[] {
  const faulty = new Set(problems.filter(({ severity }) => severity === "error").map(({ policy }) => policy));
  const without = new Set(problems.filter(({ message }) => message.startsWith(noAction)).map(({ policy }) => policy));
  return problems.filter(
    ({ severity, policy }) => severity === "error" || !(faulty.has(policy) || without.has(policy)),
  );
}

const noAction = "unable to find an applicable action";

type ReadSet = {
  readonly policies: ReadonlyMap<string, ReadPolicy>;
  readonly problems: readonly PolicyProblem[];
};

function* reading(document: PolicySetDocument): Turns<ReadSet> {
  // Each is then found at once.
  for (const { text } of document.policies) {
    readOnce(text);
    yield;
  }
  return readAll(document);
}

function readAll(document: PolicySetDocument): ReadSet {
  const policies = new Map<string, ReadPolicy>();
  const problems: PolicyProblem[] = [];
  const byId = document.policies.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  for (const { id, text } of byId) {
    const refuse = (message: string): void => void problems.push({ severity: "error", policy: id, message });
    const read = readOnce(text);
    if ("problems" in read) problems.push(...read.problems.map((problem) => ({ ...problem, policy: id })));
    else if (read.policy.id !== id)
      refuse(`@id is ${JSON.stringify(read.policy.id)}, the document says ${JSON.stringify(id)}`);
    else if (policies.has(id)) refuse("@id is used twice");
    else policies.set(id, read.policy);
  }
  return { policies, problems };
}

/** Sets of a team differ in few policies, and releases of an agent in none. */
const readings = new LRUCache<string, ReturnType<typeof readPolicy>>({
  max: 5_000,
  maxSize: 16 * 1024 * 1024,
  sizeCalculation: (_, text) => 500 + text.length,
});

function readOnce(text: string): ReturnType<typeof readPolicy> {
  const known = readings.get(text);
  if (known !== undefined) return known;
  const read = readPolicy(text);
  if ("policy" in read) readings.set(text, read);
  return read;
}

/** Policies that Cedar has nothing to say of, with the schema that they were validated against: each is validated by itself. */
const sound = new LRUCache<string, true>({ max: 50_000 });

/** Those not known to be sound, so many at once; errors come first. */
function* validating(
  policies: ReadonlyMap<string, ReadPolicy>,
  schema: CedarSchema,
  together: number,
): Turns<readonly PolicyProblem[]> {
  const against = digestOf(schema as unknown as Json);
  const named = [...policies].map(([id, policy]) => ({ id, policy, name: `${against}/${sha256(policy.text)}` }));
  const unknown = named.filter(({ name }) => sound.get(name) !== true);
  const problems: PolicyProblem[] = [];
  // A schema that Cedar refuses is found without any policy too.
  for (let from = 0; from === 0 || from < unknown.length; from += together) {
    const some = unknown.slice(from, from + together);
    const found = validateTogether(new Map(some.map(({ id, policy }) => [id, policy])), schema);
    const faulty = new Set(found.map(({ policy }) => policy));
    // A problem of no policy in particular may be any's.
    if (!faulty.has(undefined)) for (const { id, name } of some) if (!faulty.has(id)) sound.set(name, true);
    problems.push(...found);
    yield;
  }
  return problems.sort(
    (a, b) =>
      Number(a.severity === "warning") - Number(b.severity === "warning") ||
      ((a.policy ?? "") < (b.policy ?? "") ? -1 : 1),
  );
}

/** Cedar's strict validation of each policy against every action it can apply to. */
function validateTogether(policies: ReadonlyMap<string, ReadPolicy>, schema: CedarSchema): readonly PolicyProblem[] {
  const staticPolicies = Object.fromEntries([...policies].map(([id, policy]) => [id, policy.text]));
  let answer;
  try {
    answer = reader.run((cedar) =>
      cedar.validate({ schema, policies: { staticPolicies }, validationSettings: { mode: "strict" } }),
    );
  } catch {
    return [{ severity: "error", message: "cedar cannot validate these policies: one is nested too deeply" }];
  }
  if (answer.type === "failure") {
    throw new PolicyError(
      "tools_invalid",
      `cedar refuses the tools' schema: ${answer.errors[0]?.message ?? "no reason"}`,
    );
  }
  const actions = Object.keys(schema[""]?.actions ?? {});
  const problem =
    (severity: "error" | "warning") =>
    (found: ValidationError): PolicyProblem => {
      const start = found.error.sourceLocations?.[0]?.start;
      return {
        severity,
        policy: found.policyId,
        ...(start === undefined ? {} : placeOf(policies.get(found.policyId)?.text ?? "", start)),
        message: withActionsMeant(messageOf(found.error), actions),
      };
    };
  return [...answer.validationErrors.map(problem("error")), ...answer.validationWarnings.map(problem("warning"))];
}

/** Cedar suggests whatever is spelt alike: `tool` for `refund`, where there is a `tool/refund`. */
function withActionsMeant(message: string, actions: readonly string[]): string {
  const [, unknown] = /^unrecognized action `Action::"(.*?)"`/.exec(message) ?? [];
  if (unknown === undefined) return message;
  const whole = actions.find((action) => action.slice(action.indexOf("/") + 1) === unknown);
  const meant = whole ?? didYouMean(unknown, actions);
  const [kind = ""] = unknown.split("/");
  const alike = actions.filter((action) => action.startsWith(`${kind}/`));
  const known = (alike.length === 0 ? actions : alike).toSorted();
  const help =
    meant === undefined
      ? `there are ${known.slice(0, 10).join(", ")}${known.length > 10 ? ", …" : ""}`
      : `did you mean \`Action::"${meant}"\`?`;
  return `unrecognized action \`Action::"${unknown}"\` (${help})`;
}

function toolsDigest(tools: readonly PolicyTool[]): Digest {
  const plain = tools.map(({ name, parameters, effect, groups, source }) => ({
    ...{ name, parameters, effect, groups },
    ...(source === undefined ? {} : { source: classificationOf(source) }),
  }));
  return contentDigest(plain, "tools_invalid");
}

function contentDigest(value: Json, code: "policies_invalid" | "tools_invalid"): Digest {
  try {
    return digestOf(value);
  } catch (cause) {
    throw new PolicyError(code, "expected text and numbers that JSON can express", { cause });
  }
}
