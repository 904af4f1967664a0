import type { JsonObject } from "../../../src/core/json.ts";
import type { ScriptInput } from "../../../src/providers/index.ts";

export const modelName = "scripted/faults";

/** What a run is asked to do. Its reference is in every call that it makes, so that the tools can tell what was done twice. */
export const errands = ["pay", "big", "declined", "shout", "broken", "many", "witnessed"] as const;
export type Errand = (typeof errands)[number];

/** Payments from this on need two people. */
export const highAmount = 5_000;

/** A payment of just this is made once a witness has cosigned its intent. */
const witnessedAmount = 300;

const pay = (ref: string, cents: number) => ({ tool: "pay", arguments: { ref, to: "ada", amount_cents: cents } });
const look = { tool: "look", arguments: { ref: "{{ref}}" } };

const turns: { readonly [Name in Errand]: ScriptInput["branches"][number]["turns"] } = {
  pay: [{ calls: [pay("{{ref}}", 100)] }, { calls: [look] }, { text: "paid" }],
  big: [{ calls: [pay("{{ref}}", 6_000)] }, { text: "paid" }],
  declined: [{ calls: [pay("{{ref}}", 7_000)] }, { text: "not paid" }],
  shout: [{ calls: [{ tool: "shout", arguments: { ref: "{{ref}}" } }] }, { text: "said" }],
  // The tool's connection breaks: whether it was said, somebody has to find out.
  broken: [{ calls: [{ tool: "shout", arguments: { ref: "{{ref}}" } }] }, { text: "said, perhaps" }],
  many: [{ calls: [look, pay("{{ref}}-1", 100), pay("{{ref}}-2", 200)] }, { text: "all paid" }],
  witnessed: [{ calls: [pay("{{ref}}", witnessedAmount)] }, { text: "paid" }],
};

export const branches: ScriptInput["branches"] = errands.map((errand) => ({
  name: errand,
  when: `^(?<ref>${errand}-[a-z0-9-]+)$`,
  turns: turns[errand],
}));

/** The errand's reference in a call's arguments. */
export function refOf(args: JsonObject): string {
  return typeof args["ref"] === "string" ? args["ref"] : "";
}

/** How many effects that change something a run of this kind has when it is done. */
export const effectsOf: { readonly [Name in Errand]: number } = {
  pay: 1,
  big: 1,
  declined: 0,
  shout: 1,
  broken: 1,
  many: 2,
  witnessed: 1,
};

export const policy = `
@id("all") permit(principal, action, resource);
@id("high-payments-need-two") @decision("require_approval") @group("treasury") @quorum("2") @expires("1h") @reason("high payments need two people")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents >= ${highAmount} };
@id("some-payments-are-witnessed") @decision("cosigned") @witnesses("1") @within("15m") @reason("a witness first")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents == ${witnessedAmount} };
`;

export function toolsAt(url: string) {
  const parameters = (properties: Record<string, { readonly type: string }>) => ({
    type: "object",
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  });
  const ref = { type: "string" };
  const common = { groups: [], timeoutMs: 10_000 } as const;
  return [
    {
      ...common,
      name: "look",
      description: "Looks.",
      parameters: parameters({ ref }),
      effect: "read",
      idempotency: "key",
      short: true,
      implementation: { kind: "http", method: "GET", url: `${url}/look` },
    },
    {
      ...common,
      name: "pay",
      description: "Pays.",
      parameters: parameters({ ref, to: { type: "string" }, amount_cents: { type: "integer" } }),
      effect: "write",
      idempotency: "key",
      short: false,
      implementation: { kind: "http", method: "POST", url: `${url}/pay` },
    },
    {
      ...common,
      name: "shout",
      description: "Says what cannot be unsaid.",
      parameters: parameters({ ref }),
      effect: "egress",
      idempotency: "none",
      short: false,
      implementation: { kind: "http", method: "POST", url: `${url}/shout` },
    },
  ] as const;
}
