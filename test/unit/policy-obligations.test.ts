import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { ResponseFacts } from "../../src/core/decision.ts";
import type { Digest } from "../../src/core/ids.ts";
import type { DataClass } from "../../src/core/labels.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { checkPolicySet, compilePolicies, decide, explain, formatProblem } from "../../src/policy/index.ts";
import type { PolicyRequest, PolicySetDocument, PolicyTool } from "../../src/policy/index.ts";

const pay: PolicyTool = {
  name: "pay",
  effect: "write",
  groups: [],
  parameters: {
    type: "object",
    properties: {
      cents: { type: "integer" },
      rate: { type: "number" },
      note: { type: "string" },
      tags: { type: "array", items: { type: "string" } },
      place: { type: "object", properties: { city: { type: "string" } } },
      tip: { type: "integer", default: 900 },
      size: { type: "string", enum: ["small", "large"] },
      dues: { type: "integer", multipleOf: 20 },
    },
  },
};
const look: PolicyTool = { name: "look", effect: "read", groups: [], parameters: { type: "object", properties: {} } };
const tools = [pay, look];

function documentOf(policies: Record<string, string>): PolicySetDocument {
  return { v: 1, policies: Object.entries(policies).map(([id, text]) => ({ id, text: `@id("${id}") ${text}` })) };
}

function call(given: JsonObject, tool = "pay", steps = 0): PolicyRequest {
  return {
    agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "x", riskTier: "limited" },
    run: { id: "run_1", requestedBy: "me" },
    step: { kind: "tool", tool, arguments: given },
    facts: { ...noFacts, steps },
  };
}

const permit = "permit (principal, action, resource);";
const payOnly = 'principal, action == Action::"tool/pay", resource';
const over = (name: string, limit: number): string =>
  `when { context.input has ${name} && context.input.${name} > ${limit} }`;
const cap = `@decision("cap") @argument("cents") @max("50") forbid (${payOnly}) ${over("cents", 50)};`;
const redact = `@decision("redact") @argument("note") forbid (${payOnly});`;
const shadow = `@decision("shadow") forbid (${payOnly});`;
const cosigned = `@decision("cosigned") @witnesses("2") @within("30s") forbid (${payOnly});`;
const asksOver = (limit: number): string =>
  `@decision("require_approval") @group("g") forbid (${payOnly}) ${over("cents", limit)};`;

const redactCards =
  '@decision("redact") @data_classes("card") forbid (principal, action == Action::"response", resource);';
const speaks =
  'forbid (principal, action == Action::"response", resource) when { context.response.characters > 9999 };';
const capTokens = (max: number): string =>
  `@decision("cap") @argument("maxOutputTokens") @max("${max}") forbid (principal, action == Action::"model", resource) when { context.maxOutputTokens > ${max} };`;

function model(maxOutputTokens: number): PolicyRequest {
  return { ...call({}), step: { kind: "model", model: "m", maxOutputTokens } };
}

const facts = {
  response: {
    ...{
      answer: "0".repeat(64) as Digest,
      action: "0".repeat(64) as Digest,
      finishReason: "stop" as const,
      final: true,
    },
    ...{ characters: 5, calls: 0, tools: [], callDataClasses: [] },
    links: { grounded: 0, untrusted: 0, ungrounded: 0, hosts: [] },
  },
};

function answer(found: readonly DataClass[], given: Partial<ResponseFacts> = {}): PolicyRequest {
  const response = { ...facts.response, ...given };
  return {
    ...call({}),
    step: { kind: "response", model: "m", response },
    facts: { ...noFacts, response, flow: { ...noFacts.flow, dataClasses: found } },
  };
}

describe("an obligation", () => {
  it.each<[string, Record<string, string>, JsonObject, object]>([
    [
      "caps what is above",
      { permit, cap },
      { cents: 80, note: "n" },
      {
        decision: {
          outcome: "allow",
          policies: [{ policy: "permit" }, { policy: "cap", text: "`cents` is at most 50" }],
          obligations: [{ kind: "cap", policy: "cap", argument: "cents", max: 50 }],
        },
        effective: { cents: 50, note: "n" },
      },
    ],
    [
      "caps a decimal",
      {
        permit,
        r: `@decision("cap") @argument("rate") @max("2") forbid (${payOnly}) when { context.input has rate && context.input.rate.greaterThan(decimal("2.0")) };`,
      },
      { rate: 2.5 },
      { decision: { outcome: "allow" }, effective: { rate: 2 } },
    ],
    [
      "caps down to the lowest of several bounds",
      { permit, cap, low: cap.replaceAll("50", "20") },
      { cents: 80 },
      { decision: { outcome: "allow", obligations: [{ max: 50 }, { max: 20 }] }, effective: { cents: 20 } },
    ],
    [
      "redacts text, and keeps the order of the arguments",
      { permit, redact },
      { note: "n", cents: 1 },
      {
        decision: { outcome: "allow", obligations: [{ kind: "redact" }] },
        effective: { note: "[redacted]", cents: 1 },
      },
    ],
    [
      "redacts each text of a list",
      { permit, t: redact.replace("note", "tags") },
      { tags: ["a", "b"] },
      { decision: { outcome: "allow" }, effective: { tags: ["[redacted]", "[redacted]"] } },
    ],
    ["has nothing to redact where the argument is missing", { permit, redact }, {}, { decision: { outcome: "allow" } }],
    [
      "adds itself, to be made nowhere",
      { permit, shadow },
      {},
      { decision: { outcome: "allow", obligations: [{ kind: "shadow" }] } },
    ],
    [
      "has the call wait for witnesses, as it is",
      { permit, cosigned },
      { cents: 80 },
      {
        decision: {
          outcome: "allow",
          obligations: [{ kind: "cosigned", policy: "cosigned", witnesses: 2, withinMs: 30_000 }],
        },
      },
    ],
    [
      "has it wait a quarter of an hour where nothing is said",
      { permit, c: cosigned.replace('@within("30s")', "") },
      {},
      { decision: { obligations: [{ withinMs: 900_000 }] } },
    ],
    [
      "of witnesses spares no approval",
      { permit, cosigned, asks: asksOver(10) },
      { cents: 80 },
      { decision: { outcome: "require_approval", requirements: [{ policy: "asks" }] } },
    ],
    [
      "is one of several, sorted",
      { permit, z: cap, redact, shadow },
      { cents: 80, note: "n" },
      {
        decision: { outcome: "allow", obligations: [{ kind: "cap" }, { kind: "redact" }, { kind: "shadow" }] },
        effective: { cents: 50, note: "[redacted]" },
      },
    ],
    [
      "leaves approvals to be asked, for the changed call",
      { permit, cap, asks: asksOver(10) },
      { cents: 80 },
      { decision: { outcome: "require_approval", requirements: [{ policy: "asks" }] }, effective: { cents: 50 } },
    ],
    [
      "spares no approval that the call as asked needs",
      { permit, cap, asks: asksOver(60) },
      { cents: 80 },
      { decision: { outcome: "require_approval", requirements: [{ policy: "asks" }] }, effective: { cents: 50 } },
    ],
    [
      "opens nothing that is not permitted as asked",
      { permit: `permit (${payOnly}) when { context.input has cents && context.input.cents < 60 };`, cap },
      { cents: 80 },
      { decision: { outcome: "deny", code: "not_permitted" } },
    ],
    [
      "does not allow a changed call that is forbidden",
      { permit, cap, fifty: `forbid (${payOnly}) when { context.input has cents && context.input.cents == 50 };` },
      { cents: 80 },
      { decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "fifty" }] } },
    ],
    [
      "gives way to a forbid without one",
      { permit, cap, no: `forbid (${payOnly}) ${over("cents", 70)};` },
      { cents: 80 },
      { decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "no" }] } },
    ],
    ["makes nothing permitted", { cap }, { cents: 80 }, { decision: { outcome: "deny", code: "not_permitted" } }],
    [
      "forbids if its cap is no cure",
      { permit, c: cap.replace(over("cents", 50), "") },
      { cents: 80 },
      { decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "c" }] } },
    ],
    [
      "forbids if it only comes up with the changed call",
      {
        permit,
        cap,
        s: `@decision("shadow") forbid (${payOnly}) when { context.input has cents && context.input.cents == 50 };`,
      },
      { cents: 80 },
      { decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "s" }] } },
    ],
    [
      "is undecidable for an argument of another kind",
      { permit, r: redact.replace("note", "place") },
      { place: { city: "c" } },
      { decision: { outcome: "deny", code: "undecidable", policies: [{ policy: "r" }] } },
    ],
    [
      "is undecidable where a number is to be redacted",
      { permit, r: redact.replace("note", "cents") },
      { cents: 1 },
      { decision: { code: "undecidable" } },
    ],
    [
      "is undecidable where a text is to be capped",
      { permit, c: cap.replace('"cents"', '"note"') },
      { cents: 80, note: "n" },
      { decision: { code: "undecidable" } },
    ],
    [
      "is undecidable for an argument that the tool does not have",
      { permit, r: redact.replace("note", "body") },
      { note: "n" },
      { decision: { code: "undecidable" } },
    ],
    [
      "forbids a default above its cap, which no argument replaces",
      {
        permit,
        c: `@decision("cap") @argument("tip") @max("50") forbid (${payOnly}) when { context.input.tip > 50 };`,
      },
      {},
      { decision: { outcome: "deny", code: "forbidden" } },
    ],
    [
      "is undecidable where what was redacted no longer fits the tool's schema",
      { permit, r: redact.replace("note", "size") },
      { size: "small" },
      { decision: { outcome: "deny", code: "undecidable", policies: [{ policy: "r" }] } },
    ],
    [
      "is undecidable where what was capped no longer fits the tool's schema",
      { permit, c: cap.replace('"cents"', '"dues"').replace(over("cents", 50), over("dues", 50)) },
      { dues: 60 },
      {
        decision: { outcome: "deny", code: "undecidable", policies: [{ policy: "c" }] },
        detail: "what an obligation makes of the arguments does not fit the tool: /dues must be multiple of 20",
      },
    ],
  ])("%s", (_name, policies, given, expected) => {
    const explained = explain(compilePolicies(documentOf(policies), tools), call(given));
    expect(explained).toMatchObject(expected);
    const { effective } = expected as { effective?: JsonObject };
    // The order of the caller's arguments is kept too.
    expect(JSON.stringify(explained.effective)).toBe(JSON.stringify(effective));
  });

  it("is met again when the call was approved, and changes nothing of the caller's arguments", () => {
    const compiled = compilePolicies(documentOf({ permit, cap, asks: asksOver(10) }), tools);
    const given = Object.freeze({ cents: 80 });
    const { decision, effective } = explain(compiled, call(given), [
      { policy: "asks", group: "g", approvals: 1, quorum: 1, expiresMs: 86_400_000, ageMs: 0 },
    ]);
    expect(decision).toMatchObject({ outcome: "allow", obligations: [{ kind: "cap", max: 50 }] });
    expect(effective).toEqual({ cents: 50 });
  });

  it("of another kind is none that a model call or an answer could meet", () => {
    for (const [text, request] of [
      [redact, model(1)],
      [redactCards, model(1)],
      [cosigned, model(1)],
      [capTokens(0), model(1)],
      [redact, answer([])],
      [cosigned, answer([])],
      [capTokens(1), answer([])],
      [redactCards, call({})],
    ] as const) {
      const anywhere = text.replace(/forbid \(.*?, resource\)( when .*)?;/, "forbid (principal, action, resource);");
      const compiled = compilePolicies(documentOf({ permit, speaks, o: anywhere }), tools);
      expect(decide(compiled, request)).toMatchObject({
        outcome: "deny",
        code: "undecidable",
        policies: [{ policy: "o" }],
      });
    }
  });
});

it.each<[string, PolicyRequest]>([
  ['@decision("shadow") forbid (principal, action, resource);', model(1)],
  [capTokens(50), model(200)],
  ['@decision("shadow") forbid (principal, action, resource);', answer([])],
])("%s was met by none of the first three rules' steps but calls", (o, request) => {
  const compiled = compilePolicies(documentOf({ permit, speaks, o }), tools);
  const outcomes = ([2, 3, 4, undefined] as const).map((rules) => {
    const by = rules === undefined ? request : { ...request, rules };
    const { decision, effective } = explain(compiled, by);
    return [decision.outcome === "deny" ? decision.code : decision.outcome, effective === undefined];
  });
  const [now] = outcomes.slice(-1);
  expect(outcomes.map(([outcome]) => outcome)).toEqual(["undecidable", "undecidable", "allow", "allow"]);
  expect(outcomes).toEqual([["undecidable", true], ["undecidable", true], now, now]);
});

describe("an obligation of a model call", () => {
  const more = 'forbid (principal, action == Action::"model", resource) when { context.maxOutputTokens > 10 };';
  it.each<[string, Record<string, string>, object]>([
    [
      "caps its tokens",
      { permit, cap: capTokens(50) },
      { decision: { outcome: "allow", obligations: [{ kind: "cap", max: 50 }] }, effective: { maxOutputTokens: 50 } },
    ],
    ["leaves what is below", { permit, cap: capTokens(500) }, { decision: { outcome: "allow" } }],
    [
      "caps to the lowest of several",
      { permit, cap: capTokens(50), low: capTokens(20) },
      { decision: { outcome: "allow" }, effective: { maxOutputTokens: 20 } },
    ],
    [
      "leaves approvals to be asked, for the capped call",
      { permit, cap: capTokens(50), asks: `@decision("require_approval") @group("g") ${more}` },
      { decision: { outcome: "require_approval" }, effective: { maxOutputTokens: 50 } },
    ],
    [
      "allows nothing that is forbidden when capped",
      { permit, cap: capTokens(50), more },
      { decision: { code: "forbidden" } },
    ],
    [
      "has it recorded and not made",
      { permit, s: '@decision("shadow") forbid (principal, action == Action::"model", resource);' },
      { decision: { outcome: "allow", obligations: [{ kind: "shadow" }] } },
    ],
  ])("%s", (_name, policies, expected) => {
    const explained = explain(compilePolicies(documentOf(policies), tools), model(200));
    expect(explained).toMatchObject(expected);
    expect(explained.effective).toEqual((expected as { effective?: object }).effective);
  });
});

describe("an obligation of an answer", () => {
  const cards = 'when { context.content.dataClasses.contains("card") }';
  const redactWhere = (when: string): string => `${redactCards.slice(0, -1)} ${when};`;
  const allowed = { decision: { outcome: "allow", policies: [{ policy: "permit" }, { policy: "r" }] } };

  it.each<[string, string, PolicyRequest, object]>([
    ["is met by an answer without what it names", redactWhere(cards), answer(["card"]), allowed],
    ["is met though it fires again, where nothing of it is left", redactCards, answer(["card"]), allowed],
    ["is met where there was nothing", redactCards, answer([]), allowed],
    [
      "is not met by a call that has it, and fires again",
      redactWhere('when { context.response.callDataClasses.contains("card") }'),
      answer([], { callDataClasses: ["card"] }),
      { decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "r" }] } },
    ],
    [
      "leaves calls to be decided on by themselves, where it was for the text",
      redactWhere(cards),
      answer(["card"], { callDataClasses: ["card"] }),
      allowed,
    ],
    [
      "has it recorded, and sent nowhere",
      '@decision("shadow") forbid (principal, action == Action::"response", resource);',
      answer([]),
      { decision: { outcome: "allow", obligations: [{ kind: "shadow" }] } },
    ],
  ])("%s", (_name, r, request, expected) => {
    expect(explain(compilePolicies(documentOf({ permit, r }), tools), request)).toMatchObject(expected);
  });

  it("allows nothing that is forbidden when redacted, and asks whom the redacted answer needs", () => {
    const final = 'forbid (principal, action == Action::"response", resource) when { context.response.final };';
    const under = (policy: string): object => {
      const compiled = compilePolicies(documentOf({ permit, r: redactCards, p: policy }), tools);
      const request = answer(["card"], { final: false });
      const redacted = () => ({ answer: { content: "[redacted]" }, response: { ...facts.response, final: true } });
      return explain(compiled, { ...request, step: { ...request.step, redacted } as PolicyRequest["step"] });
    };
    expect(under(final)).toMatchObject({ decision: { outcome: "deny", policies: [{ policy: "p" }] } });
    expect(under(`@decision("require_approval") @group("g") ${final}`)).toMatchObject({
      decision: { outcome: "require_approval" },
      effective: { content: "[redacted]" },
    });
  });

  const place = { name: "card", start: 0, end: 4 } as const;
  const undecidable = { outcome: "deny", code: "undecidable", policies: [{ policy: "r" }] };
  it.each<[string, string, Partial<PolicyRequest["facts"]>, object | undefined, object]>([
    ["is undecidable where the answer cannot be made", "card", {}, undefined, undecidable],
    ["is undecidable where another detector does not say where", "card", { detected: ["card"] }, {}, undecidable],
    [
      "is undecidable where it says so of another class",
      "card, iban",
      { detected: ["card", "iban"], detectedAt: [place] },
      {},
      undecidable,
    ],
    ["is undecidable where only another would find it, and none was asked", "person", {}, {}, undecidable],
    ["is met where another finds none of it", "person", { detected: ["card"] }, {}, { outcome: "allow" }],
    ["is met where it says where", "card", { detected: ["card"], detectedAt: [place] }, {}, { outcome: "allow" }],
  ])("%s", (_name, classes, more, made, expected) => {
    const asked = answer(["card"]);
    const step = { ...asked.step, redacted: () => made } as PolicyRequest["step"];
    const r = redactWhere(cards).replace('"card"', `"${classes}"`);
    const compiled = compilePolicies(documentOf({ permit, r }), tools);
    expect(decide(compiled, { ...asked, step, facts: { ...asked.facts, ...more } })).toMatchObject(expected);
  });
});

describe("annotations of obligations", () => {
  const forbid = `forbid (${payOnly});`;
  it.each<[string, string, RegExp]>([
    ["a cap without a bound", `@decision("cap") @argument("cents") ${forbid}`, /@max is missing/],
    ["a cap without an argument", `@decision("cap") @max("1") ${forbid}`, /@argument is missing/],
    ["a bound that is no integer", `@decision("cap") @argument("cents") @max("1.5") ${forbid}`, /@max: expected/],
    [
      "a bound past 2^53 - 1",
      `@decision("cap") @argument("cents") @max("9007199254740992") ${forbid}`,
      /@max: expected/,
    ],
    ["a redaction of nothing", `@decision("redact") ${forbid}`, /@argument is missing/],
    ["a redaction with a bound", `@decision("redact") @argument("note") @max("1") ${forbid}`, /@max does not belong/],
    ["a path as an argument", `@decision("redact") @argument("place.city") ${forbid}`, /@argument: expected/],
    [
      "classes that nobody knows",
      `@decision("redact") @data_classes("card, crad") ${forbid}`,
      /@data_classes: expected some of email/,
    ],
    ["no classes", `@decision("redact") @data_classes("") ${forbid}`, /@data_classes: expected/],
    [
      "classes of an argument",
      `@decision("redact") @argument("note") @data_classes("card") ${forbid}`,
      /expected one of them/,
    ],
    [
      "a cap of classes",
      `@decision("cap") @argument("cents") @max("1") @data_classes("card") ${forbid}`,
      /@data_classes does not belong/,
    ],
    ["a shadow with an argument", `@decision("shadow") @argument("note") ${forbid}`, /@argument does not belong/],
    [
      "an approval with an argument",
      `@decision("require_approval") @group("g") @argument("note") ${forbid}`,
      /@argument does not belong/,
    ],
    ["a shadow with a quorum", `@decision("shadow") @quorum("2") ${forbid}`, /@quorum does not belong/],
    ["a wait for how many witnesses", `@decision("cosigned") ${forbid}`, /@witnesses is missing/],
    ["a wait for none", `@decision("cosigned") @witnesses("0") ${forbid}`, /@witnesses: expected/],
    ["a wait without end", `@decision("cosigned") @witnesses("1") @within("25h") ${forbid}`, /@within: expected/],
    [
      "witnesses of an approval",
      `@decision("require_approval") @group("g") @witnesses("1") ${forbid}`,
      /does not belong/,
    ],
    ["a permit after witnesses", `@decision("cosigned") @witnesses("1") permit (${payOnly});`, /belongs on a forbid/],
    ["an argument without a decision", `@argument("note") ${forbid}`, /@decision: expected/],
    ["a permit", `@decision("shadow") permit (${payOnly});`, /belongs on a forbid/],
  ])("refuse %s", (_name, text, expected) => {
    const problems = checkPolicySet(documentOf({ permit, p: text }), tools).map(formatProblem);
    expect(problems.join("; ")).toMatch(expected);
    expect(() => compilePolicies(documentOf({ p: text }), tools)).toThrow(expected);
  });

  it.each<[string, string, RegExp]>([
    ["nothing where its tools can meet it", redact, /^$/],
    [
      "an argument that no tool has",
      redact.replace("note", "nope"),
      /no tool that it covers has a text `nope` to redact: calls of pay/,
    ],
    [
      "a text to cap",
      cap.replace('@argument("cents")', '@argument("note")'),
      /no tool that it covers has a number `note` to cap/,
    ],
    [
      "some tools without it",
      redact.replace('action == Action::"tool/pay"', 'action in Action::"tool"'),
      /not every call .* calls of look are denied/,
    ],
    ["nothing where all can be recorded", shadow.replace('action == Action::"tool/pay"', "action"), /^$/],
    ["nothing where a model call is capped", capTokens(50), /^$/],
    ["nothing where an answer is redacted", redactCards, /^$/],
    [
      "model calls",
      cosigned.replace('action == Action::"tool/pay"', "action"),
      /model calls are denied where it fires/,
    ],
    [
      "model calls alone",
      redact.replace('Action::"tool/pay"', 'Action::"model"'),
      /text `note` to redact: model calls are denied where it fires; a model call meets only a cap of `maxOutputTokens`/,
    ],
    ["a cap that leaves no tokens", capTokens(0), /model calls are denied where it fires; .* to 1 or more/],
    [
      "classes of a call",
      redactCards.replace('Action::"response"', 'Action::"tool/pay"'),
      /only the text of an answer is redacted by data classes: calls of pay are denied/,
    ],
    [
      "an argument of an answer",
      redact.replace('Action::"tool/pay"', 'Action::"response"'),
      /answers are denied where it fires; of an answer, say @data_classes and not @argument/,
    ],
    [
      "answers alone",
      cosigned.replace('Action::"tool/pay"', 'Action::"response"'),
      /answers are denied where it fires; forbid the answer without @decision/,
    ],
  ])("warn of %s", (_name, text, expected) => {
    const problems = checkPolicySet(documentOf({ permit, p: text }), tools);
    expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
    expect(problems.map(formatProblem).join("; ")).toMatch(expected);
  });
});

describe("for any policies with obligations", () => {
  const condition = fc.constantFrom(
    "",
    over("cents", 0),
    over("cents", 50),
    over("cents", 60),
    'when { context.input has note && context.input.note == "[redacted]" }',
  );
  const note = fc.constantFrom(
    "",
    '@decision("require_approval") @group("g")',
    '@decision("shadow")',
    '@decision("cosigned") @witnesses("1")',
    '@decision("redact") @argument("note")',
    '@decision("cap") @argument("cents") @max("50")',
    '@decision("cap") @argument("cents") @max("0")',
  );
  const forbidding = fc.tuple(note, condition).map(([notes, when]) => `${notes} forbid (${payOnly}) ${when};`);
  const permitting = condition.map((when) => `permit (${payOnly}) ${when};`);
  const sets = fc.tuple(fc.array(permitting, { minLength: 1, maxLength: 2 }), fc.array(forbidding, { maxLength: 6 }));
  const given = fc.record(
    { cents: fc.constantFrom(0, 40, 55, 80), note: fc.constantFrom("n", "[redacted]") },
    { requiredKeys: [] },
  );
  const openness = { deny: 0, require_approval: 1, allow: 2 };
  const opennessOf = (texts: readonly string[], args: JsonObject): number => {
    const document = documentOf(Object.fromEntries(texts.map((text, index) => [`p${index}`, text])));
    return openness[decide(compilePolicies(document, tools), call(args)).outcome];
  };
  const hasObligation = (text: string): boolean => /"(shadow|redact|cap|cosigned)"/.test(text);

  it("one more forbid without an obligation never opens anything", () => {
    fc.assert(
      fc.property(
        sets,
        forbidding.filter((text) => !hasObligation(text)),
        given,
        ([permits, forbids], more, args) => {
          const before = opennessOf([...permits, ...forbids], args);
          expect(opennessOf([...permits, ...forbids, more], args)).toBeLessThanOrEqual(before);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("obligations open neither what was asked nor what is done beyond what the rest allows", () => {
    fc.assert(
      fc.property(sets, given, ([permits, forbids], args) => {
        const all = [...permits, ...forbids];
        const rest = all.filter((text) => !hasObligation(text));
        const document = documentOf(Object.fromEntries(all.map((text, index) => [`p${index}`, text])));
        const { decision, effective } = explain(compilePolicies(document, tools), call(args));
        expect(openness[decision.outcome]).toBeLessThanOrEqual(opennessOf(rest, args));
        const done = effective ?? args;
        expect(openness[decision.outcome]).toBeLessThanOrEqual(opennessOf(rest, done));
      }),
      { numRuns: 150 },
    );
  });

  it("the order of policies changes nothing", () => {
    fc.assert(
      fc.property(sets, given, ([permits, forbids], args) => {
        const document = documentOf(
          Object.fromEntries([...permits, ...forbids].map((text, index) => [`p${index}`, text])),
        );
        const turned = { ...document, policies: document.policies.toReversed() };
        expect(explain(compilePolicies(turned, tools), call(args))).toEqual(
          explain(compilePolicies(document, tools), call(args)),
        );
      }),
      { numRuns: 100 },
    );
  });
});
