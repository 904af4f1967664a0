import { isNode, isSeq, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";

import { noFacts } from "../core/decision.ts";
import type { HistoryFact, ResponseFacts, RunFacts } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import type { Digest } from "../core/ids.ts";
import { confidentialities, labelsOfAll } from "../core/labels.ts";
import type { CallLabels, ValueLabels } from "../core/labels.ts";
import { parseYaml } from "../core/yaml-document.schema.ts";
import { tableSchema } from "./case-file.schema.ts";
import type { caseSchema, Circumstances, givenFacts, givenResponse, labels } from "./case-file.schema.ts";
import type { CaseTable, PolicyCase } from "./cases.ts";
import { refuseErrors, yamlProblems } from "./errors.ts";
import { maxFileLength } from "./policy-set.ts";
import type { PolicyRequest } from "./request.ts";

const someAgent = {
  team: "team",
  name: "agent",
  release: "0".repeat(64),
  useCase: "cases",
  riskTier: "limited",
} as const;

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
