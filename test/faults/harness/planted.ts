import type { Json } from "../../../src/core/json.ts";
import { auditsOf } from "./facts.ts";
import type { Facts } from "./facts.ts";
import type { Invariant } from "./invariants.ts";
import { highAmount } from "./prompts.ts";
import type { ToolCall } from "./tools.ts";

type Planted = {
  readonly breaks: Invariant;
  readonly what: string;
  readonly plant: (facts: Facts) => Facts | Promise<Facts>;
};

function found<Item>(items: readonly Item[], is: (item: Item) => boolean): Item {
  const item = items.find(is);
  if (item === undefined) throw new Error("the facts have nothing to plant this in");
  return item;
}

/** The same list with the first one that fits changed. */
function changed<Item>(items: readonly Item[], is: (item: Item) => boolean, change: Partial<Item>): readonly Item[] {
  const chosen = found(items, is);
  return items.map((item) => (item === chosen ? { ...item, ...change } : item));
}

function without<Item>(items: readonly Item[], is: (item: Item) => boolean): readonly Item[] {
  const chosen = found(items, is);
  return items.filter((item) => item !== chosen);
}

const isPay = ({ tool, effect }: ToolCall): boolean => tool === "pay" && effect;
const isShout = ({ tool }: ToolCall): boolean => tool === "shout";
const isHigh = (call: ToolCall): boolean => isPay(call) && Number(call.args["amount_cents"]) >= highAmount;
const consumed = ({ state }: Facts["requests"][number]): boolean => state === "consumed";

/** Histories and records are broken, and the real audits are asked. */
async function audited(
  facts: Facts,
  tamper: (record: Facts["records"][number]) => Facts["records"][number],
): Promise<Facts> {
  const [first, ...others] = facts.records;
  if (first === undefined) throw new Error("the facts have no record");
  return {
    ...facts,
    audits: await auditsOf([tamper(structuredClone(first)), ...others], facts.code, facts.verifierKeys, facts.witness),
  };
}

/** A breach of each invariant, in facts that keep them all. */
export const planted: readonly Planted[] = [
  {
    breaks: "I1",
    what: "an effect twice under its key",
    plant: (facts) => ({ ...facts, calls: [...facts.calls, found(facts.calls, isPay)] }),
  },
  {
    breaks: "I1",
    what: "an errand done under two keys",
    plant: (facts) => ({ ...facts, calls: [...facts.calls, { ...found(facts.calls, isPay), key: "run_other.3" }] }),
  },
  {
    breaks: "I1",
    what: "a call that may not be repeated, repeated",
    plant: (facts) => ({ ...facts, calls: [...facts.calls, { ...found(facts.calls, isShout), effect: false }] }),
  },
  {
    breaks: "I1",
    what: "a call repeated with other arguments",
    plant: (facts) => {
      const call = found(facts.calls, isPay);
      return { ...facts, calls: [...facts.calls, { ...call, effect: false, args: { ...call.args, to: "eve" } }] };
    },
  },
  {
    breaks: "I2",
    what: "a high payment that nobody approved",
    plant: (facts) => ({ ...facts, requests: changed(facts.requests, consumed, { state: "pending" }) }),
  },
  {
    breaks: "I2",
    what: "one that was made before its approval was consumed",
    plant: (facts) => ({ ...facts, calls: changed(facts.calls, isHigh, { granted: "no" }) }),
  },
  {
    breaks: "I2",
    what: "one of another action than was approved",
    plant: (facts) => ({ ...facts, requests: changed(facts.requests, consumed, { action: "0".repeat(64) as never }) }),
  },
  {
    breaks: "I2",
    what: "one with other arguments than were approved",
    plant: (facts) => ({ ...facts, calls: changed(facts.calls, isHigh, { args: { amount_cents: 9_000 } }) }),
  },
  {
    breaks: "I2",
    what: "one that a single person approved",
    plant: (facts) => ({ ...facts, requests: changed(facts.requests, consumed, { approvedBy: ["rita"] }) }),
  },
  {
    breaks: "I2",
    what: "one that was approved afterwards",
    plant: (facts) => ({ ...facts, requests: changed(facts.requests, consumed, { decidedAt: Date.now() + 60_000 }) }),
  },
  {
    breaks: "I3",
    what: "an effect without an intent",
    plant: (facts) => ({
      ...facts,
      effects: without(facts.effects, ({ key }) => key === found(facts.calls, isPay).key),
    }),
  },
  {
    breaks: "I3",
    what: "one whose intent was not committed yet",
    plant: (facts) => ({ ...facts, calls: changed(facts.calls, isPay, { intended: "no" }) }),
  },
  {
    breaks: "I3",
    what: "one whose intent is not in the ledger",
    plant: (facts) => ({
      ...facts,
      entries: without(
        facts.entries,
        ({ dedupKey }) => dedupKey === `${found(facts.calls, isPay).key.replace(".", "/")}/intent`,
      ),
    }),
  },
  {
    breaks: "I4",
    what: "an intent without an end in a closed run",
    plant: (facts) => ({ ...facts, effects: changed(facts.effects, () => true, { state: "intended" }) }),
  },
  {
    breaks: "I4",
    what: "an end that is not in the ledger",
    plant: (facts) => ({ ...facts, entries: without(facts.entries, ({ dedupKey }) => dedupKey.endsWith("/result")) }),
  },
  {
    breaks: "I4",
    what: "what a person found, not in the ledger",
    plant: (facts) => ({
      ...facts,
      entries: without(facts.entries, ({ dedupKey }) => dedupKey.endsWith("/reconciled")),
    }),
  },
  {
    breaks: "I4",
    what: "a step that is done, of which the tool knows nothing",
    plant: (facts) => ({ ...facts, calls: without(facts.calls, isHigh) }),
  },
  {
    breaks: "I4",
    what: "a closed run that holds money",
    plant: (facts) => ({ ...facts, runs: changed(facts.runs, ({ closed }) => closed, { heldMicroUsd: 1 }) }),
  },
  {
    breaks: "I5",
    what: "an entry that was signed, and is another one now",
    plant: (facts) => ({ ...facts, seen: changed(facts.seen, () => true, { leafHash: "0".repeat(64) }) }),
  },
  {
    breaks: "I5",
    what: "a decision that was acknowledged, and is lost",
    plant: (facts) => ({ ...facts, entries: facts.entries.filter(({ dedupKey }) => !dedupKey.includes("/decided/")) }),
  },
  {
    breaks: "I6",
    what: "an entry that was rewritten under its checkpoints",
    plant: (facts) => ({ ...facts, entries: changed(facts.entries, () => true, { body: Buffer.from("{}") }) }),
  },
  {
    breaks: "I6",
    what: "a checkpoint of one size given as another's",
    plant: (facts) => ({ ...facts, checkpoints: changed(facts.checkpoints, ({ size }) => size > 1, { size: 1 }) }),
  },
  {
    breaks: "I6",
    what: "a checkpoint that another key signed",
    plant: (facts) => ({ ...facts, verifierKeys: { ...facts.verifierKeys, alpha: facts.verifierKeys["beta"] ?? "" } }),
  },
  {
    breaks: "I7",
    what: "a gap in a log",
    plant: (facts) => ({ ...facts, entries: without(facts.entries, ({ index }) => index === 2) }),
  },
  {
    breaks: "I7",
    what: "a gap in a run",
    plant: (facts) => ({ ...facts, entries: changed(facts.entries, ({ seq }) => seq === 2, { seq: 9 }) }),
  },
  {
    breaks: "I8",
    what: "an event that is there twice",
    plant: (facts) => ({ ...facts, entries: [...facts.entries, found(facts.entries, () => true)] }),
  },
  {
    breaks: "I9",
    what: "a run that was acknowledged, and is gone",
    plant: (facts) => ({ ...facts, runs: without(facts.runs, ({ id }) => id === facts.started[0]?.id) }),
  },
  {
    breaks: "I9",
    what: "a workflow that outlives its run",
    plant: (facts) => ({ ...facts, runs: changed(facts.runs, ({ closed }) => closed, { workflow: "RUNNING" }) }),
  },
  {
    breaks: "I9",
    what: "a run that waits for nothing",
    plant: (facts) => ({
      ...facts,
      runs: changed(facts.runs, ({ closed }) => closed, { closed: false, status: "running", workflow: "RUNNING" }),
    }),
  },
  {
    breaks: "I9",
    what: "a run whose workflow is gone",
    plant: (facts) => ({
      ...facts,
      runs: changed(facts.runs, ({ closed }) => closed, { closed: false, status: "running", workflow: undefined }),
    }),
  },
  {
    breaks: "I10",
    what: "a history that asks for other steps than its code",
    plant: async (facts) =>
      audited(facts, (record) => {
        const [{ history, ...execution }, ...others] = record.histories as readonly [
          Facts["records"][number]["histories"][number],
        ];
        const text = JSON.stringify(history).replaceAll('"name":"model"', '"name":"tool"');
        return { ...record, histories: [{ ...execution, history: JSON.parse(text) as Json }, ...others] };
      }),
  },
  {
    breaks: "I11",
    what: "an entry about another team's run",
    plant: (facts) => ({
      ...facts,
      entries: changed(facts.entries, ({ log, run }) => log === "alpha" && run !== null, { log: "beta" }),
    }),
  },
  {
    breaks: "I11",
    what: "a request about another team's run",
    plant: (facts) => ({
      ...facts,
      requests: changed(facts.requests, ({ team }) => team === "alpha", { team: "beta" }),
    }),
  },
  {
    breaks: "I12",
    what: "a call that was decided on and made while Postgres was down",
    plant: (facts) => {
      const { at } = found(facts.calls, isPay);
      return { ...facts, outages: [{ what: "Postgres was down", from: at - 10_000, to: at + 10 }] };
    },
  },
  {
    breaks: "I12",
    what: "a call whose intent nobody could read, with no reason why",
    plant: (facts) => ({ ...facts, outages: [], calls: changed(facts.calls, isPay, { intended: "unseen" }) }),
  },
  { breaks: "I13", what: "nothing done at all", plant: (facts) => ({ ...facts, calls: [] }) },
  {
    breaks: "I13",
    what: "a run after the faults that failed",
    plant: (facts) => ({
      ...facts,
      runs: facts.runs.map((run) =>
        facts.started.some(({ id, wave }) => wave === 2 && id === run.id) ? { ...run, status: "failed" } : run,
      ),
    }),
  },
  {
    breaks: "I13",
    what: "nothing asked for after the faults",
    plant: (facts) => ({ ...facts, started: facts.started.filter(({ wave }) => wave === 1) }),
  },
  {
    breaks: "I14",
    what: "a record whose decision is another",
    plant: async (facts) =>
      audited(facts, (record) => ({
        ...record,
        decisions: record.decisions.map((decision) => ({ ...decision, outcome: "deny" as const })),
      })),
  },
  { breaks: "I14", what: "no bundle", plant: (facts) => ({ ...facts, bundle: undefined }) },
  {
    breaks: "I14",
    what: "a history that nobody sealed",
    plant: (facts) => ({ ...facts, seals: changed(facts.seals, () => true, { archived: false }) }),
  },
  {
    breaks: "I14",
    what: "events that the ledger never took in",
    plant: (facts) => ({ ...facts, waiting: [{ log: "alpha", dedupKey: "x", run: null }] }),
  },
];
