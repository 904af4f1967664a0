import { createRequire } from "node:module";

import type * as CedarModule from "@cedar-policy/cedar-wasm/nodejs";
import Table from "cli-table3";

import { noFacts } from "../src/core/decision.ts";
import type { Origin } from "../src/core/labels.ts";
import { compilePolicies, decide, explain, groupsOfTool, schemaFor } from "../src/policy/index.ts";
import type { CedarRequest, PolicyRequest } from "../src/policy/index.ts";
import { printGoals } from "./goals.ts";
import { findOpa, loadRego } from "./policies/opa.ts";
import { agentName, cedarOf, generalRules, regoOf, rulesOf, tools } from "./policies/rules.ts";
import type { Rule } from "./policies/rules.ts";
import { median } from "./statistics.ts";

const rounds = 5;
const sizes = [12, 1_000] as const;
const requestCount = 200;
/** Calls of one engine in one round. The slow ones get fewer, so that a round stays short. */
const callsOf = { countersign: 4_000, opa: 1_000, unsliced: 400, general: 400 } as const;
const goal = { growth: 1.5, p99us: 500 };

type Outcome = string;
/** One engine with one set of rules, ready to decide the n-th request. */
type Contestant = { readonly name: string; readonly calls: number; decide(index: number): Outcome };
type Percentiles = { readonly p50: number; readonly p99: number };

/**
 * The time of one decision at 12 and at 1,000 policies, in turns with OPA's wasm build (the same rules in Rego) and with Cedar without
 * slices. All must come to the same outcomes first.
 */
export async function benchPolicy(print: (line: string) => void): Promise<object> {
  const requests = Array.from({ length: requestCount }, (_, index) => requestOfNumber(index));
  const opa = await findOpa(print);
  const own: Contestant[] = [];
  const theirs: Contestant[] = [];
  for (const size of sizes) {
    const rules = rulesOf(size);
    const ours = countersign(`countersign ${size}`, rules, requests, callsOf.countersign);
    const others = [
      unsliced(`unsliced ${size}`, rules, requests),
      ...(opa === undefined ? [] : [await rego(`opa ${size}`, opa, rules, requests)]),
    ];
    compareOutcomes(ours, others, print);
    own.push(ours);
    theirs.push(...others);
  }
  theirs.push(countersign("general 1000", generalRules(1_000), requests, callsOf.general));
  // Both sizes one after the other, since the machine's mood changes.
  const contestants = [...own, ...theirs];
  return report(measure(contestants, print), opa !== undefined, print);
}

function measure(
  contestants: readonly Contestant[],
  print: (line: string) => void,
): ReadonlyMap<string, readonly Percentiles[]> {
  const results = new Map(contestants.map(({ name }) => [name, [] as Percentiles[]]));
  for (const contestant of contestants) timed(contestant, Math.max(requestCount, contestant.calls / 4));
  for (let round = 1; round <= rounds; round += 1) {
    for (const contestant of contestants) results.get(contestant.name)?.push(timed(contestant, contestant.calls));
    const last = [...results].map(([name, all]) => `${name} ${Math.round(all.at(-1)?.p50 ?? 0)} µs`);
    print(`round ${round} of ${rounds}: ${last.join(", ")}`);
  }
  return results;
}

function timed(contestant: Contestant, calls: number): Percentiles {
  const times = new Float64Array(calls);
  for (let call = 0; call < calls; call += 1) {
    const start = performance.now();
    contestant.decide(call % requestCount);
    times[call] = (performance.now() - start) * 1_000;
  }
  times.sort();
  const at = (share: number): number => times[Math.min(calls - 1, Math.floor(calls * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function countersign(
  name: string,
  rules: readonly Rule[],
  requests: readonly PolicyRequest[],
  calls: number,
): Contestant {
  const compiled = compilePolicies({ v: 1, policies: rules.map(cedarOf) }, tools);
  return { name, calls, decide: (index) => decide(compiled, at(requests, index)).outcome };
}

/** Cedar with the whole set and schema, as its documentation shows it: preparsed, and each request validated. */
function unsliced(name: string, rules: readonly Rule[], requests: readonly PolicyRequest[]): Contestant {
  const cedar = createRequire(import.meta.url)("@cedar-policy/cedar-wasm/nodejs") as typeof CedarModule;
  const prepare = (set: string, kept: readonly Rule[]): void => {
    const staticPolicies = Object.fromEntries(kept.map(cedarOf).map(({ id, text }) => [id, text]));
    if (cedar.preparsePolicySet(set, { staticPolicies }).type === "failure") throw new Error("cedar refuses the rules");
  };
  prepare(name, rules);
  prepare(
    `${name} unliftable`,
    rules.filter(({ effect }) => effect !== "ask"),
  );
  cedar.preparseSchema(name, schemaFor(tools));
  const asking = new Set(rules.filter(({ effect }) => effect === "ask").map(({ id }) => id));
  const asked = cedarRequests(rules, requests);
  const ask = (set: string, request: CedarRequest) => {
    const answer = cedar.statefulIsAuthorized({
      ...request,
      preparsedPolicySetId: set,
      preparsedSchemaName: name,
      validateRequest: true,
    });
    if (answer.type === "failure") throw new Error(answer.errors[0]?.message);
    return answer.response;
  };
  return {
    name,
    calls: callsOf.unsliced,
    decide: (index) => {
      const request = at(asked, index);
      const { decision, diagnostics } = ask(name, request);
      if (diagnostics.errors.length > 0) return "deny";
      if (decision === "allow") return "allow";
      if (diagnostics.reason.length === 0 || !diagnostics.reason.every((id) => asking.has(id))) return "deny";
      return ask(`${name} unliftable`, request).decision === "allow" ? "require_approval" : "deny";
    },
  };
}

async function rego(
  name: string,
  opa: string,
  rules: readonly Rule[],
  requests: readonly PolicyRequest[],
): Promise<Contestant> {
  const evaluate = await loadRego(opa, regoOf(rules));
  const groups = new Map(tools.map((tool) => [tool.name, groupsOfTool(tool)]));
  const asked = cedarRequests(rules, requests).map(({ context }, index) => {
    const { agent, step } = at(requests, index);
    const tool = step.kind === "tool" ? step.tool : "";
    return {
      agent: `${agent.team}/${agent.name}`,
      team: agent.team,
      action: `tool/${tool}`,
      groups: groups.get(tool) ?? [],
      context,
    };
  });
  return { name, calls: callsOf.opa, decide: (index) => String(evaluate(at(asked, index))) };
}

/** The very requests that Countersign asks Cedar, before it leaves out what no policy reads. */
function cedarRequests(rules: readonly Rule[], requests: readonly PolicyRequest[]): readonly CedarRequest[] {
  const compiled = compilePolicies({ v: 1, policies: rules.map(cedarOf) }, tools);
  return requests.map((request) => {
    const { request: asked } = explain(compiled, request);
    if (asked === undefined) throw new Error("a request of the bench cannot be asked");
    return asked;
  });
}

function compareOutcomes(ours: Contestant, others: readonly Contestant[], print: (line: string) => void): void {
  const counts: Record<string, number> = {};
  for (let index = 0; index < requestCount; index += 1) {
    const outcome = ours.decide(index);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    for (const other of others) {
      const theirs = other.decide(index);
      if (theirs !== outcome) {
        throw new Error(`request ${index}: ${ours.name} says ${outcome}, ${other.name} says ${theirs}`);
      }
    }
  }
  const found = Object.entries(counts).map(([outcome, count]) => `${count} ${outcome}`);
  print(
    `${ours.name}: ${requestCount} requests, the same outcomes in ${others.length + 1} engines: ${found.join(", ")}`,
  );
}

/** The n-th call: another tool, agent, amount, recipient and history each time. */
export function requestOfNumber(index: number): PolicyRequest {
  const tool = at(tools, (index * 11) % tools.length);
  const some = <Value>(values: readonly Value[], step: number): Value =>
    at(values, Math.floor(index / step) % values.length);
  const recipient = some(["alice@example.com", "bob@rival.example", "team@partner-4.example"], 3);
  const destination = some<Origin>(["user", "trusted", "untrusted", "derived", "operator"], 2);
  const { flow } = noFacts;
  return {
    agent: { ...agentName(index), release: "0".repeat(64), useCase: "customer service", riskTier: "limited" },
    run: {
      id: "run_01JD0000000000000000000000",
      requestedBy: "user:alice",
      subject: { id: `customer-${index}`, email: "customer@example.com" },
    },
    step: {
      kind: "tool",
      tool: tool.name,
      arguments: {
        // Mostly small, as amounts are.
        amount_cents: Math.floor((((index * 7_919) % 1_000) / 1_000) ** 3 * 100_000),
        recipient,
        note: "The parcel left the warehouse on Monday, and should arrive within two working days. ".repeat(3),
        tags: ["priority", `project-${index}`],
      },
    },
    facts: {
      ...noFacts,
      at: "2026-05-04T10:15:00.000Z",
      environment: { name: "production", region: "eu-central" },
      requester: { roles: ["member", "operator"], groups: ["support", "night-shift"] },
      steps: index % 20,
      spentMicroUsd: index * 1_000,
      sameName: index % 6,
      approvals: index % 3,
      flow: {
        ...flow,
        origins: { amount_cents: "user", recipient: destination, note: "derived", tags: "operator" },
        destination,
        mixedScript: index % 17 === 0,
        dataClasses: index % 7 === 0 ? ["card", "email"] : ["email"],
        seen: {
          untrusted: index % 2 === 0,
          confidentiality: index % 4,
          sources: ["tool_1", "tool_7"],
          dataClasses: ["email", "phone"],
        },
      },
    },
  };
}

function report(
  results: ReadonlyMap<string, readonly Percentiles[]>,
  withOpa: boolean,
  print: (line: string) => void,
): object {
  const figure = (name: string, percentile: "p50" | "p99"): number =>
    median((results.get(name) ?? []).map((round) => round[percentile]));
  const bothSizes = (engine: string, percentile: "p50" | "p99"): Record<string, number> =>
    Object.fromEntries(sizes.map((size) => [String(size), round(figure(`${engine} ${size}`, percentile))]));
  const figuresOf = (engine: string) => ({ p50us: bothSizes(engine, "p50"), p99us: bothSizes(engine, "p99") });
  const table = new Table({
    head: ["one decision, µs", ...sizes.flatMap((size) => [`p50 at ${size}`, `p99 at ${size}`]), "growth of p50"],
    style: { head: [], border: [] },
  });
  const engines = { countersign: "Countersign", ...(withOpa ? { opa: "OPA, wasm" } : {}), unsliced: "Cedar, unsliced" };
  for (const [engine, title] of Object.entries(engines)) {
    const cells = sizes.flatMap((size) => [figure(`${engine} ${size}`, "p50"), figure(`${engine} ${size}`, "p99")]);
    table.push([title, ...cells.map((cell) => cell.toFixed(0)), growth(figure, engine).toFixed(2)]);
  }
  print(table.toString());
  const grown = growth(figure, "countersign");
  printGoals(print, [
    [`growth of p50 at most ${goal.growth}`, grown.toFixed(2), grown <= goal.growth],
    ...sizes.map((policies) => {
      const p99 = figure(`countersign ${policies}`, "p99");
      return [`p99 at ${policies} policies below ${goal.p99us} µs`, `${p99.toFixed(0)} µs`, p99 < goal.p99us] as const;
    }),
  ]);
  const general = { p50us: round(figure("general 1000", "p50")), p99us: round(figure("general 1000", "p99")) };
  print(
    `${rounds} rounds in turns after one for warming up, medians of the\n` +
      `rounds' own percentiles; ${callsOf.countersign} calls of Countersign, ${callsOf.opa} of OPA and ${callsOf.unsliced} of unsliced Cedar a round, ${requestCount} requests in turn over ${tools.length} tools and\n` +
      "80 agents, with denials and approvals. Countersign's time is all of decide(): making the request, checking it, one to four evaluations.\n" +
      "The others get the finished request, which they read from JSON as well. 1,000 policies that all cover the very action and agent asked\n" +
      `about cannot be sliced: ${general.p50us} µs (p50), ${general.p99us} µs (p99). Compiling is not measured. Other work on the machine shows in p99.`,
  );
  return {
    ...figuresOf("countersign"),
    growth: round(growth(figure, "countersign"), 100),
    ...(withOpa ? { opa: figuresOf("opa") } : {}),
    unsliced: figuresOf("unsliced"),
    unsliceable1000: general,
  };
}

/** How much longer a decision takes at the larger size: of medians, as each is measured in turns with the other. */
function growth(figure: (name: string, percentile: "p50") => number, engine: string): number {
  const [small, large] = sizes.map((size) => figure(`${engine} ${size}`, "p50"));
  return (large ?? Number.NaN) / (small ?? Number.NaN);
}

function round(value: number, parts = 10): number {
  return Math.round(value * parts) / parts;
}

function at<Value>(values: readonly Value[], index: number): Value {
  const value = values[index];
  if (value === undefined) throw new Error(`there is no number ${index}`);
  return value;
}
