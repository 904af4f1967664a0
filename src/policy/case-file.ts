import { isNode, isSeq, LineCounter, parseDocument } from "yaml";
import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { denialCodes, noFacts } from "../core/decision.ts";
import type { HistoryFact, ResponseFacts, RunFacts } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import { toolNamePattern } from "../core/ids.ts";
import type { Digest } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { confidentialities, dataClasses, labelsOfAll, origins } from "../core/labels.ts";
import type { CallLabels, ValueLabels } from "../core/labels.ts";
import { riskTiers } from "../core/release.ts";
import { sourceFields } from "../core/retrieval.schema.ts";
import { asTool } from "../core/retrieval.ts";
import { finishReasons } from "../core/transcript.ts";
import { parseYaml } from "../core/yaml-document.schema.ts";
import type { CaseTable, PolicyCase } from "./cases.ts";
import { refuseErrors, yamlProblems } from "./errors.ts";
import { maxFileLength } from "./policy-set.ts";
import type { PolicyRequest } from "./request.ts";
import { groupNamePattern } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";

const text = z.string().max(10_000);
const count = z.int().min(0);
const jsonObject = z.record(z.string(), z.json()) as unknown as z.ZodType<JsonObject>;

const toolSchema = z.strictObject({
  name: z.string().regex(toolNamePattern),
  effect: z.enum(effectClasses),
  groups: z.array(z.string().regex(groupNamePattern)).default([]),
  parameters: jsonObject.default({ type: "object", properties: {} }),
});

/** A source; like a tool's, its description and its code are no matter here. */
const sourceSchema = z
  .strictObject({
    name: z.string().regex(toolNamePattern),
    effect: z.enum(["read", "egress"]).default("read"),
    groups: z.array(z.string().regex(groupNamePattern)).default([]),
    results: sourceFields.results,
    dataClasses: sourceFields.dataClasses,
    topK: sourceFields.topK.default(5),
  })
  .transform((source): PolicyTool => asTool({ ...source, description: "", short: false, timeoutMs: 1 }));

const seen = z.strictObject({
  untrusted: z.boolean().optional(),
  confidentiality: z.enum(confidentialities).optional(),
  sources: z.array(text).optional(),
  dataClasses: z.array(z.enum(dataClasses)).optional(),
});

const labels = z.strictObject({
  confidentiality: z.enum(confidentialities).default("public"),
  sources: z.array(text).default([]),
});

/** What differs from a run that has done and read nothing. */
const givenFacts = z.strictObject({
  at: z.iso.datetime().optional(),
  environment: z.strictObject({ name: text, region: text }).partial().optional(),
  requester: z
    .strictObject({ roles: z.array(text), groups: z.array(text) })
    .partial()
    .optional(),
  steps: count.optional(),
  spentMicroUsd: count.optional(),
  sameName: count.optional(),
  sameNameApproved: count.optional(),
  approvals: count.optional(),
  history: z.record(z.string(), count).optional(),
  origins: z.record(z.string(), z.enum(origins)).optional(),
  destination: z.enum([...origins, "none"]).optional(),
  contested: z.boolean().optional(),
  mixedScript: z.boolean().optional(),
  bestOrigin: z.enum([...origins, "none"]).optional(),
  worstOrigin: z.enum([...origins, "none"]).optional(),
  ungroundedLinks: count.optional(),
  dataClasses: z.array(z.enum(dataClasses)).optional(),
  labels: z
    .strictObject({ arguments: z.record(z.string(), labels).default({}), destination: labels, content: labels })
    .partial({ destination: true, content: true })
    .optional(),
  seen: seen.optional(),
});

/** What differs from a final answer of no particular text. */
const givenResponse = z.strictObject({
  finishReason: z.enum(finishReasons).optional(),
  /** Default: it asks for no tools. */
  final: z.boolean().optional(),
  characters: count.default(0),
  tools: z.array(z.string().regex(toolNamePattern)).default([]),
  /** Default: as many as `tools`. */
  calls: count.optional(),
  callDataClasses: z.array(z.enum(dataClasses)).default([]),
  links: z
    .strictObject({ grounded: count, untrusted: count, ungrounded: count, hosts: z.array(text) })
    .partial()
    .default({}),
});

const circumstances = z.strictObject({
  agent: z
    .strictObject({
      team: text,
      name: text,
      release: text.default("0".repeat(64)),
      useCase: text,
      riskTier: z.enum(riskTiers),
    })
    .optional(),
  requestedBy: text.optional(),
  /** null: on nobody's behalf, although `defaults` names somebody. */
  subject: z.strictObject({ id: text, email: text.optional() }).nullable().optional(),
  facts: givenFacts.optional(),
});
type Circumstances = z.infer<typeof circumstances>;

const someAgent = {
  team: "team",
  name: "agent",
  release: "0".repeat(64),
  useCase: "cases",
  riskTier: "limited",
} as const;

const expectation = z.strictObject({
  outcome: z.enum(["allow", "deny", "require_approval"]),
  code: z.enum(denialCodes).optional(),
  policies: z.array(text).optional(),
});

const caseSchema = z
  .strictObject({
    name: text,
    tool: text.optional(),
    retrieval: text.optional(),
    arguments: jsonObject.default({}),
    model: text.optional(),
    maxOutputTokens: z.int().default(1_000),
    response: givenResponse.optional(),
    approved: z.array(z.strictObject({ policy: text, group: text, approvals: count })).default([]),
    expect: expectation,
    ...circumstances.shape,
  })
  .refine(
    ({ tool, retrieval, model }) => [tool, retrieval, model].filter((name) => name !== undefined).length === 1,
    "expected either `tool`, `retrieval` or `model`",
  )
  .refine((one) => one.response === undefined || one.model !== undefined, "`response` is what a `model` answered");

const tableSchema = z.strictObject({
  v: z.literal(1),
  tools: z.array(toolSchema).max(500).default([]),
  retrieval: z.array(sourceSchema).max(100).default([]),
  defaults: circumstances.default({}),
  cases: z.array(caseSchema).max(10_000),
});

/**
 * Reads the text of a `cases.yaml` (its format: policies/README.md) of a pack that declares `history`. Throws PolicyError `cases_invalid` with
 * every problem at its line and column.
 */
export function parseCases(yaml: string, file = "cases.yaml", history: readonly HistoryFact[] = []): CaseTable {
  const parsed = parseYaml(yaml, tableOf(history), maxFileLength);
  if (!parsed.ok) {
    refuseErrors(yamlProblems(file, parsed.problems), "cases_invalid");
    return { tools: [], cases: [] };
  }
  const { defaults, cases, ...called } = parsed.value;
  const lines = linesOfCases(yaml);
  return {
    tools: [...called.tools, ...called.retrieval],
    cases: cases.map((one, index) => caseOf(one, lines[index] ?? 1, defaults, history)),
  };
}

/** With what a case may name. A misspelt fact would leave the real one at nought, and the case would test something else. */
function tableOf(declared: readonly HistoryFact[]) {
  const facts = declared.map(({ name }) => name);
  return tableSchema.superRefine(({ tools, retrieval, defaults, cases }, context) => {
    const known = { tool: tools.map(({ name }) => name), retrieval: retrieval.map(({ name }) => name) };
    const refuse = (path: (string | number)[], what: string, name: string, among: readonly string[]): void => {
      const meant = didYouMean(name, among);
      const message = `${what}${meant === undefined ? "" : `; did you mean \`${meant}\`?`}`;
      context.addIssue({ code: "custom", path, message });
    };
    const checkFacts = (path: (string | number)[], given: Circumstances): void => {
      for (const fact of Object.keys(given.facts?.history ?? {}))
        if (!facts.includes(fact))
          refuse([...path, "facts", "history", fact], `the pack counts no fact \`${fact}\``, fact, facts);
    };
    checkFacts(["defaults"], defaults);
    for (const [index, one] of cases.entries()) {
      checkFacts(["cases", index], one);
      // What an agent does not have cannot be decided on, and a case may say so.
      if (one.expect.code === "undecidable") continue;
      for (const kind of ["tool", "retrieval"] as const) {
        const name = one[kind];
        if (name !== undefined && known[kind].length > 0 && !known[kind].includes(name))
          refuse(["cases", index, kind], `the file describes no ${kind} \`${name}\``, name, known[kind]);
      }
    }
  });
}

function linesOfCases(yaml: string): readonly number[] {
  const lineCounter = new LineCounter();
  const cases: unknown = parseDocument(yaml, { lineCounter }).get("cases", true);
  const items = isSeq(cases) ? cases.items : [];
  return items.map((item) => (isNode(item) && item.range ? lineCounter.linePos(item.range[0]).line : 1));
}

function caseOf(
  given: z.infer<typeof caseSchema>,
  line: number,
  defaults: Circumstances,
  history: readonly HistoryFact[],
): PolicyCase {
  const subject = given.subject === undefined ? defaults.subject : given.subject;
  return {
    name: given.name,
    line,
    request: {
      agent: given.agent ?? defaults.agent ?? someAgent,
      run: {
        id: "run_00000000000000000000000000",
        requestedBy: given.requestedBy ?? defaults.requestedBy ?? "someone",
        ...(subject === null || subject === undefined ? {} : { subject: subjectOf(subject) }),
      },
      step: stepOf(given),
      facts: factsOf({ ...defaults.facts, ...given.facts }, history, given.response),
    },
    approved: given.approved,
    expect: {
      outcome: given.expect.outcome,
      ...(given.expect.code === undefined ? {} : { code: given.expect.code }),
      ...(given.expect.policies === undefined ? {} : { policies: given.expect.policies }),
    },
  };
}

function stepOf({ tool, retrieval, model, response, ...given }: z.infer<typeof caseSchema>): PolicyRequest["step"] {
  if (tool !== undefined) return { kind: "tool", tool, arguments: given.arguments };
  if (retrieval !== undefined) return { kind: "retrieval", tool: retrieval, arguments: given.arguments };
  if (response === undefined) return { kind: "model", model: model ?? "", maxOutputTokens: given.maxOutputTokens };
  return { kind: "response", model: model ?? "", response: responseOf(response) };
}

function responseOf({ links, ...given }: z.infer<typeof givenResponse>): ResponseFacts {
  const { tools, characters, callDataClasses } = given;
  const calls = given.calls ?? tools.length;
  return {
    answer: noDigest,
    action: noDigest,
    finishReason: given.finishReason ?? (calls > 0 ? "tool_calls" : "stop"),
    final: given.final ?? calls === 0,
    characters,
    calls,
    tools,
    callDataClasses,
    links: {
      grounded: links.grounded ?? 0,
      untrusted: links.untrusted ?? 0,
      ungrounded: links.ungrounded ?? 0,
      hosts: links.hosts ?? [],
    },
  };
}

const noDigest = "0".repeat(64) as Digest;

/** History facts that a case does not mention are nought; links of an answer are what its text has. */
function factsOf(
  given: z.infer<typeof givenFacts>,
  history: readonly HistoryFact[],
  response: z.infer<typeof givenResponse> | undefined,
): RunFacts {
  const { environment, requester, seen: read } = given;
  const { flow } = noFacts;
  const seenFacts = {
    untrusted: read?.untrusted ?? false,
    confidentiality: confidentialities.indexOf(read?.confidentiality ?? "public"),
    sources: read?.sources ?? [],
    dataClasses: read?.dataClasses ?? [],
  };
  return {
    at: given.at ?? noFacts.at,
    environment: { ...noFacts.environment, ...withoutUndefined(environment) },
    requester: { ...noFacts.requester, ...withoutUndefined(requester) },
    steps: given.steps ?? 0,
    spentMicroUsd: given.spentMicroUsd ?? 0,
    sameName: given.sameName ?? 0,
    sameNameApproved: given.sameNameApproved ?? 0,
    approvals: given.approvals ?? 0,
    history: { ...Object.fromEntries(history.map(({ name }) => [name, 0])), ...given.history },
    flow: {
      origins: given.origins ?? flow.origins,
      destination: given.destination ?? flow.destination,
      contested: given.contested ?? false,
      mixedScript: given.mixedScript ?? false,
      best: given.bestOrigin ?? flow.best,
      worst: given.worstOrigin ?? "none",
      ungroundedLinks: given.ungroundedLinks ?? (response?.links.untrusted ?? 0) + (response?.links.ungrounded ?? 0),
      dataClasses: given.dataClasses ?? [],
      // Without any, values are no better than all that was seen.
      ...(given.labels === undefined ? {} : { labels: callLabelsOf(given.labels, labelsOfAll(seenFacts)) }),
      seen: seenFacts,
    },
  };
}

function callLabelsOf(given: NonNullable<z.infer<typeof givenFacts>["labels"]>, all: ValueLabels): CallLabels {
  const labelsOf = ({ confidentiality, sources }: z.infer<typeof labels>): ValueLabels => ({
    confidentiality: confidentialities.indexOf(confidentiality),
    sources,
  });
  return {
    arguments: Object.fromEntries(Object.entries(given.arguments).map(([name, one]) => [name, labelsOf(one)])),
    destination: given.destination === undefined ? all : labelsOf(given.destination),
    content: given.content === undefined ? all : labelsOf(given.content),
  };
}

function withoutUndefined<Value extends object>(
  value: Value = {} as Value,
): { [Key in keyof Value]: NonNullable<Value[Key]> } {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as never;
}

function subjectOf({ id, email }: { id: string; email?: string | undefined }): { id: string; email?: string } {
  return email === undefined ? { id } : { id, email };
}
