import type { PolicyTool } from "../../src/policy/index.ts";

/** One rule, to be written as Cedar and as Rego. */
export type Rule = {
  readonly id: string;
  readonly effect: "permit" | "forbid" | "ask";
  readonly who: { readonly agent?: string; readonly team?: string };
  /** An action or a group of them; absent: all. */
  readonly action?: string;
  readonly when: readonly Condition[];
};

type Condition =
  | { readonly path: string; readonly op: ">" | "<=" | "=="; readonly value: number | string | boolean }
  | { readonly path: string; readonly op: "contains"; readonly value: string }
  | { readonly path: string; readonly op: "ends"; readonly value: string };

const toolCount = 50;
const agentsPerTeam = 20;
export const teams = ["support", "finance", "logistics", "research"] as const;
const groups = ["money", "mail", "records", "files", "search"] as const;
/** Of every ten tools; what destroys is permitted to nobody. */
const effects = ["read", "write", "egress", "read", "write", "egress", "read", "write", "read", "destructive"] as const;

/** Fifty tools: ten in each group, of all effect classes. */
export const tools: readonly PolicyTool[] = Array.from({ length: toolCount }, (_, index) => ({
  name: `tool_${index}`,
  effect: effects[Math.floor(index / groups.length) % effects.length] ?? "read",
  groups: [groups[index % groups.length] ?? "search"],
  parameters: {
    type: "object",
    properties: {
      amount_cents: { type: "integer" },
      recipient: { type: "string" },
      note: { type: "string" },
      tags: { type: "array", items: { type: "string" } },
    },
    required: ["amount_cents", "recipient", "note", "tags"],
  },
}));

export function agentName(index: number): { readonly team: string; readonly name: string } {
  const team = teams[index % teams.length] ?? "support";
  return { team, name: `agent_${Math.floor(index / teams.length) % agentsPerTeam}` };
}

const anybody = {};
const base: readonly Rule[] = [
  { id: "base/model", effect: "permit", who: anybody, action: "model", when: [] },
  { id: "base/read", effect: "permit", who: anybody, action: "effect/read", when: [] },
  { id: "base/write", effect: "permit", who: anybody, action: "effect/write", when: [over("run.steps", "<=", 200)] },
  { id: "base/egress", effect: "permit", who: anybody, action: "effect/egress", when: [] },
  {
    id: "base/spend",
    effect: "forbid",
    who: anybody,
    action: "tool",
    when: [over("run.spentMicroUsd", ">", 5_000_000)],
  },
  {
    id: "base/untrusted-destination",
    effect: "ask",
    who: anybody,
    action: "effect/egress",
    when: [{ path: "destination.origin", op: "==", value: "untrusted" }],
  },
  {
    id: "base/look-alike",
    effect: "forbid",
    who: anybody,
    action: "effect/egress",
    when: [{ path: "destination.mixedScript", op: "==", value: true }],
  },
  {
    id: "base/cards",
    effect: "forbid",
    who: anybody,
    action: "group/mail",
    when: [{ path: "content.dataClasses", op: "contains", value: "card" }],
  },
  {
    id: "base/after-confidential",
    effect: "ask",
    who: anybody,
    action: "group/mail",
    when: [over("seen.confidentiality", ">", 2)],
  },
  {
    id: "base/large",
    effect: "ask",
    who: anybody,
    action: "group/money",
    when: [over("input.amount_cents", ">", 50_000)],
  },
  {
    id: "base/huge",
    effect: "forbid",
    who: anybody,
    action: "group/money",
    when: [over("input.amount_cents", ">", 90_000)],
  },
  {
    id: "base/rival",
    effect: "forbid",
    who: anybody,
    action: "tool/tool_2",
    when: [{ path: "input.recipient", op: "ends", value: "@rival.example" }],
  },
];

function over(path: string, op: ">" | "<=", value: number): Condition {
  return { path, op, value };
}

/**
 * The twelve rules of a small team, and up to `count` such as large companies add to them: limits on single tools, rules for single
 * agents and teams, destinations of single tools. Which rule is which follows from its number.
 */
export function rulesOf(count: number): readonly Rule[] {
  return [...base, ...Array.from({ length: Math.max(count - base.length, 0) }, (_, index) => particular(index))];
}

function particular(index: number): Rule {
  // Each kind goes through all tools, agents and groups of its own.
  const turn = Math.floor(index / 5);
  const tool = `tool/tool_${(turn * 2 + (index % 5)) % toolCount}`;
  const { team, name } = agentName(turn);
  const effect = index % 3 === 0 ? "ask" : "forbid";
  switch (index % 5) {
    case 0:
    case 1:
      return {
        id: `limit/${index}`,
        effect,
        who: anybody,
        action: tool,
        when: [over("input.amount_cents", ">", 80_000 + index), over("run.sameName", ">", 3)],
      };
    case 2:
      return {
        id: `agent/${index}`,
        effect,
        who: { agent: `${team}/${name}` },
        action: `group/${groups[turn % groups.length] ?? "mail"}`,
        when: [over("input.amount_cents", ">", 60_000 + index), over("run.approvals", "<=", 1)],
      };
    case 3:
      return {
        id: `team/${index}`,
        effect,
        who: { team },
        action: tool,
        when: [{ path: "input.tags", op: "contains", value: `project-${index}` }, over("seen.confidentiality", ">", 1)],
      };
    default:
      return {
        id: `place/${index}`,
        effect,
        who: anybody,
        action: tool,
        when: [
          { path: "destination.origin", op: "==", value: "derived" },
          { path: "input.recipient", op: "ends", value: `@partner-${index}.example` },
        ],
      };
  }
}

/** As many rules that all cover every call of every agent: nothing can be left out for any of them. */
export function generalRules(count: number): readonly Rule[] {
  const more = Array.from({ length: Math.max(count - base.length, 0) }, (_, index): Rule => {
    return {
      id: `all/${index}`,
      effect: "forbid",
      who: anybody,
      action: "tool",
      when: [over("run.steps", ">", 1_000 + index)],
    };
  });
  return [...base, ...more];
}

export function cedarOf({ id, effect, who, action, when }: Rule): { readonly id: string; readonly text: string } {
  const principal =
    who.agent !== undefined
      ? `principal == Agent::"${who.agent}"`
      : who.team !== undefined
        ? `principal in Team::"${who.team}"`
        : "principal";
  const scope = action === undefined ? "action" : `action in Action::"${action}"`;
  const notes = effect === "ask" ? '@decision("require_approval") @group("reviewers") ' : "";
  const conditions = when.length === 0 ? "" : ` when { ${when.map(cedarCondition).join(" && ")} }`;
  const verb = effect === "permit" ? "permit" : "forbid";
  return { id, text: `@id("${id}") ${notes}${verb} (${principal}, ${scope}, resource)${conditions};` };
}

function cedarCondition({ path, op, value }: Condition): string {
  if (op === "contains") return `context.${path}.contains(${JSON.stringify(value)})`;
  if (op === "ends") return `context.${path} like ${JSON.stringify(`*${value}`)}`;
  return `context.${path} ${op} ${JSON.stringify(value)}`;
}

/** The outcome as `data.bench.outcome`, for `input` {agent, team, action, groups, context}. */
export function regoOf(rules: readonly Rule[]): string {
  return [
    "package bench",
    "",
    'outcome := "deny" if count(forbid) > 0',
    'else := "deny" if count(permit) == 0',
    'else := "require_approval" if count(ask) > 0',
    'else := "allow"',
    "",
    ...rules.map(regoRule),
    "",
  ].join("\n");
}

function regoRule({ id, effect, who, action, when }: Rule): string {
  const conditions = [
    ...(who.agent === undefined ? [] : [`input.agent == ${JSON.stringify(who.agent)}`]),
    ...(who.team === undefined ? [] : [`input.team == ${JSON.stringify(who.team)}`]),
    ...(action === undefined ? [] : [actionCondition(action)]),
    ...when.map(regoCondition),
  ];
  return `${effect} contains ${JSON.stringify(id)} if { ${conditions.join("; ")} }`;
}

function actionCondition(action: string): string {
  const isOne = action === "model" || action.startsWith("tool/");
  return isOne ? `input.action == ${JSON.stringify(action)}` : `${JSON.stringify(action)} in input.groups`;
}

function regoCondition({ path, op, value }: Condition): string {
  if (op === "contains") return `${JSON.stringify(value)} in input.context.${path}`;
  if (op === "ends") return `endswith(input.context.${path}, ${JSON.stringify(value)})`;
  return `input.context.${path} ${op} ${JSON.stringify(value)}`;
}
