import type { AuthorizationAnswer, SchemaJson, StatefulAuthorizationCall } from "@cedar-policy/cedar-wasm/nodejs";

import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { digestOf } from "../store/canonical.ts";
import { CedarEngine } from "./engine.ts";
import { PolicyError } from "./errors.ts";

/** Policies by id, named by their content: equal slices of any two policy sets share one preparsed set. */
export type PolicySlice = { readonly name: Digest; readonly policies: Readonly<Record<string, string>> };

/** A Cedar schema, named by its content. */
export type NamedSchema = { readonly name: Digest; readonly schema: SchemaJson<string> };

/** Past this many preparsed policies and schemas, the instance is dropped and filled again as asked. */
const maxHeldPolicies = 20_000;

export function policySlice(policies: Readonly<Record<string, string>>): PolicySlice {
  return { name: digestOf(policies), policies };
}

export function namedSchema(schema: SchemaJson<string>): NamedSchema {
  return { name: digestOf(schema as unknown as Json), schema };
}

/** The instance that decides, and what it holds in preparsed form. One per thread, as its memory is. */
class Evaluator {
  readonly #engine = new CedarEngine();
  readonly #held = new Set<Digest>();
  #heldPolicies = 0;

  /** Preparses what is not yet held. Throws `policies_invalid` or `tools_invalid` if Cedar refuses it. */
  hold(slice: PolicySlice, schema: NamedSchema): void {
    if (this.#held.has(slice.name) && this.#held.has(schema.name)) return;
    if (this.#heldPolicies > maxHeldPolicies) this.#forget();
    this.#guarded(() => {
      if (!this.#held.has(schema.name)) this.#holdSchema(schema);
      if (!this.#held.has(slice.name)) this.#holdSlice(slice);
    });
  }

  /**
   * Evaluates `call` with the slice alone. The schema is always there and the request always checked against it:
   * without a schema, `action in Action::"group"` never matches, and forbids by group are silently skipped.
   */
  evaluate(
    slice: PolicySlice,
    schema: NamedSchema,
    call: Pick<StatefulAuthorizationCall, "principal" | "action" | "resource" | "context" | "entities">,
  ): AuthorizationAnswer {
    this.hold(slice, schema);
    return this.#guarded(() =>
      this.#engine.run((cedar) =>
        cedar.statefulIsAuthorized({
          principal: call.principal,
          action: call.action,
          resource: call.resource,
          context: call.context,
          entities: call.entities,
          preparsedPolicySetId: slice.name,
          preparsedSchemaName: schema.name,
          validateRequest: true,
        }),
      ),
    );
  }

  #holdSchema({ name, schema }: NamedSchema): void {
    const answer = this.#engine.run((cedar) => cedar.preparseSchema(name, schema));
    if (answer.type === "failure") {
      throw new PolicyError(
        "tools_invalid",
        `cedar refuses the tools' schema: ${answer.errors[0]?.message ?? "no reason"}`,
      );
    }
    this.#held.add(name);
    this.#heldPolicies += 1;
  }

  #holdSlice({ name, policies }: PolicySlice): void {
    const answer = this.#engine.run((cedar) => cedar.preparsePolicySet(name, { staticPolicies: policies }));
    if (answer.type === "failure") {
      throw new PolicyError("policies_invalid", `cedar refuses a policy: ${answer.errors[0]?.message ?? "no reason"}`);
    }
    this.#held.add(name);
    this.#heldPolicies += Object.keys(policies).length;
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
