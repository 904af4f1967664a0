import type { AuthorizationAnswer, EntityJson, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import type { Digest } from "../core/ids.ts";
import { digestOf } from "../store/canonical.ts";
import { schemaFault } from "./conforms.ts";
import { CedarEngine, reader } from "./engine.ts";
import { PolicyError } from "./errors.ts";
import type { ReadPolicy } from "./policy.ts";
import { prunedTo, readsOfAll } from "./reads.ts";
import type { Reads } from "./reads.ts";
import type { CedarRequest } from "./request.ts";
import type { CedarSchema } from "./schema.ts";
import { withoutScope } from "./scope.ts";
import { partsOf } from "./screen.ts";

/** Policies by id, named by their content: equal slices of any two policy sets share one preparsed set. */
export type PolicySlice = {
  readonly name: Digest;
  readonly policies: Readonly<Record<string, string>>;
  /** What they can look at; a request is evaluated without the rest. */
  readonly reads: Reads;
};

/** One action as Cedar has to know it, named by its content. */
export type ActionFrame = {
  readonly name: Digest;
  readonly action: string;
  readonly groups: readonly string[];
  /** What requests are checked against before they are evaluated. */
  readonly schema: CedarSchema;
  /** The action with the groups that it is in: without it, no `action in Action::"group"` ever matches. */
  readonly entity: EntityJson;
};

/** Past this many preparsed policies, the instance is dropped and filled again as asked. */
const maxHeldPolicies = 20_000;

/**
 * The slice of policies whose principal and action scopes cover what they will be asked about: `slices.ts` has made sure of it, so what
 * Cedar gets is their conditions. It saves a third of each policy's time.
 */
export function policySlice(policies: readonly ReadPolicy[]): PolicySlice {
  const texts = Object.fromEntries(policies.map((policy) => [policy.id, conditionsOf(policy).text]));
  return { name: digestOf(texts), policies: texts, reads: readsOfConditions(policies) };
}

type Conditions = { readonly text: string; readonly reads: Reads };

const conditions = new WeakMap<ReadPolicy, Conditions>();

function conditionsOf(policy: ReadPolicy): Conditions {
  const known = conditions.get(policy);
  if (known !== undefined) return known;
  const { reads } = policy;
  const bare = textWithoutScope(policy);
  // A scope that stays may name a group or a team.
  const made = bare === undefined ? { text: policy.text, reads: { ...reads, hierarchy: true } } : { text: bare, reads };
  conditions.set(policy, made);
  return made;
}

function readsOfConditions(policies: readonly ReadPolicy[]): Reads {
  return readsOfAll(policies.map((policy) => conditionsOf(policy).reads));
}

/** Undefined where it cannot be made: with its scope, a policy only takes longer. */
function textWithoutScope({ json, scope }: ReadPolicy): string | undefined {
  const bare = withoutScope(json, scope);
  return bare === undefined ? undefined : textOf(bare);
}

function textOf(json: PolicyJson): string | undefined {
  try {
    const answer = reader.run((cedar) => cedar.policyToText(json));
    return answer.type === "success" ? answer.text : undefined;
  } catch {
    return undefined;
  }
}

/** A slice that says less and is faster: the permits, and forbids by parts. `parts` has the forbids of each by the id that it has there. */
export type Screen = { readonly slice: PolicySlice; readonly parts: ReadonlyMap<string, PolicySlice> };

/** Undefined where there is none to be made. */
export function screenOf(policies: readonly ReadPolicy[]): Screen | undefined {
  const made = partsOf(policies.filter(({ effect }) => effect === "forbid"));
  if (made === undefined) return undefined;
  const texts = new Map<string, string>();
  for (const { id, json } of made.parts) {
    const text = textOf(json);
    if (text === undefined || !isReadable(text)) return undefined;
    texts.set(id, text);
  }
  const permits = policies.filter(({ effect }) => effect === "permit");
  for (const policy of [...permits, ...made.apart]) texts.set(policy.id, conditionsOf(policy).text);
  const named = Object.fromEntries(texts);
  return {
    slice: { name: digestOf(named), policies: named, reads: readsOfConditions(policies) },
    parts: new Map(made.parts.map(({ id, forbids }) => [id, policySlice(forbids)])),
  };
}

/** Asked of the instance that reads, so that a text too deep for Cedar costs the one that decides nothing. */
function isReadable(text: string): boolean {
  try {
    return reader.run((cedar) => cedar.policyToJson(text)).type === "success";
  } catch {
    return false;
  }
}

export function actionFrame(action: string, groups: readonly string[], schema: CedarSchema): ActionFrame {
  const parents = groups.map((id) => ({ type: "Action", id }));
  const entity = { uid: { type: "Action", id: action }, attrs: {}, parents };
  return { name: digestOf({ action, groups }), action, groups, schema, entity };
}

/** The instance that decides, and what it holds in preparsed form. One per thread, as its memory is. */
class Evaluator {
  readonly #engine = new CedarEngine();
  readonly #held = new Set<Digest>();
  #heldPolicies = 0;

  /**
   * Preparses what is not yet held, and tries whether this instance sees the action's groups. Throws `policies_invalid` if
   * Cedar refuses a policy, `tools_invalid` if the groups do not match.
   */
  hold(slice: PolicySlice, frame: ActionFrame): void {
    if (this.#held.has(slice.name) && this.#held.has(frame.name)) return;
    if (this.#heldPolicies > maxHeldPolicies) this.#forget();
    this.#guarded(() => {
      if (!this.#held.has(frame.name)) this.#tryGroups(frame);
      if (!this.#held.has(slice.name)) this.#holdSlice(slice);
    });
  }

  /**
   * Evaluates a request with the slice alone.
   *
   * Cedar is given no schema: it would copy and walk it on every call, for half of the time. What the schema is for is done
   * elsewhere. That requests have the types which the policies were strictly validated against is checked here, in
   * `schemaFault`, and a request that has not fails as Cedar would fail it. That the action is in its groups, Cedar knows from
   * the action's entity, which is given wherever a condition asks what is in what; `hold` has seen it work in this very instance. Attributes need no types: each
   * value is written so that it is read in one way only (`argument-values.ts` writes decimals as `__extn`, and refuses
   * arguments of such names).
   */
  evaluate(slice: PolicySlice, frame: ActionFrame, request: CedarRequest): AuthorizationAnswer {
    const fault = schemaFault(frame.schema, frame.action, request);
    if (fault !== undefined) {
      const message = `the request does not fit the schema: ${fault}`;
      return {
        type: "failure",
        errors: [{ message, help: null, code: null, url: null, severity: null }],
        warnings: [],
      };
    }
    this.hold(slice, frame);
    const pruned = prunedTo(slice.reads, request);
    const entities = slice.reads.hierarchy ? [...pruned.entities, frame.entity] : pruned.entities;
    return this.#guarded(() => this.#ask(slice.name, { ...pruned, entities }));
  }

  #ask(policySet: string, { principal, action, resource, context, entities }: CedarRequest): AuthorizationAnswer {
    return this.#engine.run((cedar) =>
      cedar.statefulIsAuthorized({ principal, action, resource, context, entities, preparsedPolicySetId: policySet }),
    );
  }

  /** A forbid for the action and for each of its groups must fire, and one for a group that it is not in must not. */
  #tryGroups(frame: ActionFrame): void {
    const mustFire = [frame.action, ...frame.groups];
    const scopes = [...mustFire.map((id) => JSON.stringify(id)), '"no group has spaces"'];
    const staticPolicies = Object.fromEntries(
      scopes.map((id, index) => [`probe${index}`, `forbid (principal, action in Action::${id}, resource);`]),
    );
    this.#holdTexts("probe", staticPolicies);
    const principal = { type: "Agent", id: "probe" };
    const resource = { type: "Run", id: "probe" };
    const action = { type: "Action", id: frame.action };
    const answer = this.#ask("probe", { principal, action, resource, context: {}, entities: [frame.entity] });
    const fired = answer.type === "success" ? answer.response.diagnostics.reason.toSorted() : [];
    const expected = mustFire.map((_, index) => `probe${index}`).sort();
    if (fired.length !== expected.length || !fired.every((id, index) => id === expected[index])) {
      throw new PolicyError("tools_invalid", `cedar does not see the groups of the action ${frame.action}`);
    }
    this.#held.add(frame.name);
  }

  #holdSlice({ name, policies }: PolicySlice): void {
    this.#holdTexts(name, policies);
    this.#held.add(name);
    this.#heldPolicies += Object.keys(policies).length;
  }

  #holdTexts(name: string, staticPolicies: Readonly<Record<string, string>>): void {
    const answer = this.#engine.run((cedar) => cedar.preparsePolicySet(name, { staticPolicies }));
    if (answer.type === "failure") {
      throw new PolicyError("policies_invalid", `cedar refuses a policy: ${answer.errors[0]?.message ?? "no reason"}`);
    }
  }

  /** A throw out of the engine has renewed its instance: then nothing is held any more. */
  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (!(cause instanceof PolicyError)) this.#forget();
      throw cause;
    }
  }

  #forget(): void {
    this.#engine.renew();
    this.#held.clear();
    this.#heldPolicies = 0;
  }
}

export const evaluator = new Evaluator();
