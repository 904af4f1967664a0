import { describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import {
  argumentType,
  compilePolicies,
  decide,
  PolicyError,
  policySetOf,
  requestOf,
  schemaFor,
  schemaText,
} from "../../src/policy/index.ts";
import type { PolicyTool } from "../../src/policy/index.ts";
import { inputAttributes } from "../../src/policy/argument-types.ts";
import { recordValue } from "../../src/policy/argument-values.ts";

const root: JsonObject = {
  $defs: { Money: { type: "integer" }, Loop: { $ref: "#/$defs/Loop" } },
};

/** `string?` for an optional one, `[string]` for a set, `{a:long}` for a record. */
function shorthand(schema: Json): string {
  const render = ({ type, nullable }: ReturnType<typeof argumentType>): string => {
    const optional = nullable ? "?" : "";
    if (type.kind === "set") return `[${render({ type: type.element, nullable: false })}]${optional}`;
    if (type.kind !== "record") return `${type.kind}${optional}`;
    const attributes = [...type.attributes].map(
      ([name, one]) => `${name}:${render({ type: one.type, nullable: !one.required })}`,
    );
    return `{${attributes.join(",")}}${optional}`;
  };
  return render(argumentType(schema, root));
}

describe("JSON Schema to Cedar types", () => {
  it.each<[string, Json, string]>([
    ["string", { type: "string", format: "email" }, "string"],
    ["integer", { type: "integer" }, "long"],
    ["number", { type: "number" }, "decimal"],
    ["boolean", { type: "boolean" }, "bool"],
    ["enum of texts", { enum: ["a", "b"] }, "string"],
    ["enum of integers", { enum: [1, 2] }, "long"],
    ["enum of a text and null", { enum: ["a", null] }, "string?"],
    ["mixed enum", { enum: ["a", 1] }, "text"],
    ["const", { const: "a" }, "string"],
    ["array", { type: "array", items: { type: "string" } }, "[string]"],
    ["array of arrays", { type: "array", items: { type: "array", items: { type: "integer" } } }, "[[long]]"],
    ["array of anything", { type: "array" }, "[text]"],
    ["array of mixed", { type: "array", items: { anyOf: [{ type: "string" }, { type: "integer" }] } }, "[text]"],
    ["array with nulls", { type: "array", items: { type: ["string", "null"] } }, "[text]"],
    ["tuple", { type: "array", prefixItems: [{ type: "string" }] }, "[text]"],
    [
      "object",
      { type: "object", properties: { a: { type: "integer" }, b: { type: "string" } }, required: ["a"] },
      "{a:long,b:string?}",
    ],
    [
      "required or null",
      { type: "object", properties: { a: { type: ["integer", "null"] } }, required: ["a"] },
      "{a:long?}",
    ],
    ["default", { type: "object", properties: { a: { type: "integer", default: 3 } } }, "{a:long}"],
    ["map", { type: "object", additionalProperties: { type: "string" } }, "text"],
    ["open object", { type: "object", properties: { a: {} }, additionalProperties: true }, "text"],
    ["object with Cedar's escapes", { type: "object", properties: { __entity: { type: "string" } } }, "text"],
    ["anyOf X and null", { anyOf: [{ type: "number" }, { type: "null" }] }, "decimal?"],
    ["anyOf of one type", { anyOf: [{ type: "string", format: "uuid" }, { enum: ["all"] }] }, "string"],
    ["anyOf of two types", { anyOf: [{ type: "string" }, { type: "integer" }] }, "text"],
    ["$ref", { $ref: "#/$defs/Money" }, "long"],
    ["allOf of one $ref", { allOf: [{ $ref: "#/$defs/Money" }], default: 1 }, "long"],
    ["$ref to itself", { $ref: "#/$defs/Loop" }, "text"],
    ["$ref to nowhere", { $ref: "https://example.com/x" }, "text"],
    ["allOf of two", { allOf: [{ type: "string" }, { minLength: 1 }] }, "text"],
    ["true", true, "text"],
    ["nothing", {}, "text"],
  ])("%s", (_name, schema, expected) => {
    expect(shorthand(schema)).toBe(expected);
  });
});

const parameters: JsonObject = {
  type: "object",
  properties: {
    text: { type: "string" },
    count: { type: "integer" },
    price: { type: "number" },
    tags: { type: "array", items: { type: "string" } },
    anything: {},
    maybe: { type: ["string", "null"] },
    page: { type: "integer", default: 7 },
    place: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const tool: PolicyTool = { name: "t", effect: "read", groups: [], parameters };
const { document } = policySetOf([{ name: "a.cedar", text: '@id("p") permit (principal, action, resource);' }]);

function ask(given: JsonObject) {
  const compiled = compilePolicies(document, [tool]);
  const request = {
    agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "x", riskTier: "limited" as const },
    run: { id: "run_1", requestedBy: "me" },
    step: { kind: "tool" as const, tool: "t", arguments: given },
    facts: noFacts,
  };
  return { asked: requestOf(compiled, request), decision: decide(compiled, request) };
}

it("a default behind a reference is filled in too: what the tool will go by is what policies see", () => {
  const types = inputAttributes({
    type: "object",
    properties: {
      a: { $ref: "#/$defs/cents" },
      b: { allOf: [{ $ref: "#/$defs/cents" }] },
      c: { $ref: "#/$defs/cents", default: 3 },
    },
    $defs: { cents: { type: "integer", default: 900 } },
  });
  expect([...(types ?? [])].map(([name, one]) => [name, one.default, one.required])).toEqual([
    ["a", 900, true],
    ["b", 900, true],
    ["c", 3, true],
  ]);
  const given = (rules?: 3) => recordValue({ c: 4 }, types ?? new Map(), "arguments", rules);
  expect([given(), given(3)]).toEqual([{ a: 900, b: 900, c: 4 }, { c: 4 }]);
  expect(recordValue({}, types ?? new Map(), "arguments", 3)).toEqual({ c: 3 });
});

describe("arguments as Cedar values", () => {
  it.each<[string, JsonObject, object]>([
    ["absent is absent, defaults are filled in", {}, { page: 7 }],
    ["null for an optional value is absent", { maybe: null }, { page: 7 }],
    ["a fraction", { price: 0.1 }, { page: 7, price: { __extn: { fn: "decimal", arg: "0.1" } } }],
    ["a whole number", { price: -12 }, { page: 7, price: { __extn: { fn: "decimal", arg: "-12.0" } } }],
    ["minus zero", { count: -0 }, { page: 7, count: 0 }],
    ["the largest integer", { count: 2 ** 53 - 1 }, { page: 7, count: 2 ** 53 - 1 }],
    ["unknown types as RFC 8785 text", { anything: { b: 1, a: [null] } }, { page: 7, anything: '{"a":[null],"b":1}' }],
    [
      "an entity escape stays text",
      { anything: { __entity: { type: "Run", id: "x" } } },
      {
        page: 7,
        anything: '{"__entity":{"id":"x","type":"Run"}}',
      },
    ],
    ["a record", { place: { city: "Ulm" } }, { page: 7, place: { city: "Ulm" } }],
  ])("%s", (_name, given, input) => {
    const { asked, decision } = ask(given);
    expect(asked).toMatchObject({ status: "ready" });
    expect(asked.status === "ready" && asked.request.context["input"]).toEqual(input);
    expect(decision.outcome).toBe("allow");
  });

  it.each<[string, JsonObject]>([
    ["another type", { text: 1 }],
    ["a number in text", { count: "1" }],
    ["a fraction for an integer", { count: 1.5 }],
    ["an integer past 2^53 - 1", { count: 2 ** 53 }],
    ["five decimal places", { price: 0.00001 }],
    ["a number past decimal's range", { price: 922_337_203_685_478 }],
    ["1e21", { price: 1e21 }],
    ["an undeclared property", { bcc: "eve@example.com" }],
    ["an undeclared property inside", { place: { city: "Ulm", zip: "1" } }],
    ["a missing property inside", { place: {} }],
    ["an entity escape for a text", { text: { __entity: { type: "Run", id: "x" } } }],
    ["an element of another type", { tags: ["a", 1] }],
    ["a lone surrogate", { text: "\ud800" }],
    ["a lone surrogate inside", { anything: ["\ud800"] }],
    ["null for a value that is not optional to null", { page: null }],
  ])("undecidable: %s", (_name, given) => {
    const { asked, decision } = ask(given);
    expect(asked.status).toBe("undecidable");
    expect(decision).toEqual({ outcome: "deny", code: "undecidable", policies: [] });
  });
});

describe("the schema of a set of tools", () => {
  it("puts every tool in `tool`, its effect and its groups", () => {
    const text = schemaText([{ ...tool, groups: ["pii", "money"] }]);
    expect(text).toContain(
      'action "tool/t" in [Action::"effect/read", Action::"group/money", Action::"group/pii", Action::"tool"]',
    );
    expect(Object.keys(schemaFor([])[""]?.actions ?? {})).toContain("effect/destructive");
  });

  it.each<[string, Partial<PolicyTool>[]]>([
    ["an empty name", [{ name: "" }]],
    ["a name with a quote", [{ name: 'a"b' }]],
    ["two of one name", [{}, {}]],
    ["an unknown effect", [{ effect: "harmless" as "read" }]],
    ["a group that is no name", [{ groups: ["A B"] }]],
    ["parameters that are no object", [{ parameters: { type: "string" } }]],
    ["a property that Cedar would take for an entity", [{ parameters: { properties: { __extn: {} } } }]],
  ])("refuses %s", (_name, tools) => {
    const error = catchError(() => schemaFor(tools.map((one) => ({ ...tool, ...one }))));
    expect(error).toBeInstanceOf(PolicyError);
    expect(error).toMatchObject({ code: "tools_invalid" });
  });
});

function catchError(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}
