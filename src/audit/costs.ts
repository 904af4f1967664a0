import { budgetPolicy } from "../core/budget.ts";
import { ceilingOf, costOf } from "../core/money.ts";
import type { LedgerEntry } from "../core/ledger-event.ts";
import type { DecisionRecord, RunRecord } from "../core/run-record.ts";
import { wasUsed } from "./approvals/approvals.ts";
import { compiledSetsOf } from "./decisions/compiled-sets.ts";
import type { CompiledSets } from "./decisions/compiled-sets.ts";
import { readableEntries } from "./ledger/readable-entries.ts";
import { check } from "./report.ts";
import type { AuditCheck } from "./report.ts";

/** What the run had spent, what it held for steps under way, and what it was allowed, in micro-USD. */
type Standing = { readonly spent: number; readonly held: number; readonly at: number };
/** A step's reservation: what was held, and at which price, where that is recorded. */
type Intent = { readonly held: number; readonly facts: LedgerEntry["facts"] };

/** A result that waits for a lock has its place before it is counted: so much later, in milliseconds, a decision may not know it yet. */
const lateMs = 1_000;

/**
 * Works the run's money out again from its ledger entries: what each step cost, from its usage and the price that it was begun at, and what the
 * run had spent, held and been allowed when each decision was made. Steps from before prices were recorded are told, and held against nobody.
 */
export function checkCosts(record: RunRecord): AuditCheck {
  return costAgain(record).check;
}

/** The same, with how many model calls' costs were worked out again, and how many could not be: no price is recorded of them. */
export function costAgain(record: RunRecord): {
  readonly check: AuditCheck;
  readonly recomputed: number;
  readonly unpriced: number;
} {
  const { steps, run } = record;
  const problems: string[] = [];
  const sum = steps.reduce((total, step) => total + step.costMicroUsd, 0);
  if (sum !== run.spentMicroUsd) problems.push(`steps cost ${sum} micro-USD, the run says ${run.spentMicroUsd}`);
  const walk = new Walk(record);
  for (const entry of entriesOf(record)) problems.push(...walk.take(entry));
  problems.push(...walk.unfounded());
  const { recomputed, unpriced } = walk;
  const again = `${recomputed} of ${recomputed + unpriced} model calls worked out again from usage and price`;
  const untold = unpriced === 0 ? "" : `, ${unpriced} not: no price is recorded of them`;
  const detail = `${sum} micro-USD over ${steps.length} steps; ${again}${untold}`;
  return { check: check("costs", detail, problems), recomputed, unpriced };
}

/** Micro-USD by which the costs of a step's attempts may be more than that of their sum: one for each after the first. */
const mostRounded = 4;

const runBudget = budgetPolicy("run");
const asksBeyond = ({ policy }: { readonly policy: string }): boolean => policy === runBudget;

const ends: ReadonlySet<string> = new Set(["step.result", "step.unknown", "step.reconciled"]);

class Walk {
  recomputed = 0;
  unpriced = 0;
  readonly #record: RunRecord;
  readonly #decisions: ReadonlyMap<string, DecisionRecord>;
  readonly #intents = new Map<number, Intent>();
  readonly #costs = new Map<number, number>();
  readonly #standings: Standing[] = [{ spent: 0, held: 0, at: Number.NEGATIVE_INFINITY }];
  /** Where the decision before left the standings. */
  #before = 0;
  /** What the last decision may have known. */
  #since: readonly Standing[] = [];
  #limit: number;
  readonly #sets: CompiledSets;

  constructor(record: RunRecord) {
    this.#record = record;
    this.#sets = compiledSetsOf(record);
    this.#limit = record.release.limits.maxCostMicroUsd;
    this.#decisions = new Map(record.decisions.map((decision) => [`${decision.seq}/${decision.n}`, decision]));
  }

  take({ kind, facts, at }: LedgerEntry): readonly string[] {
    const seq = Number(facts["seq"]);
    if (kind === "budget.extended" && facts["budget"] === runBudget) return this.#extended(facts);
    if (kind === "step.decided") {
      const known = this.#known(Date.parse(at));
      this.#before = this.#standings.length - 1;
      this.#since = known;
      return this.#decided(seq, facts, known);
    }
    if (kind === "step.intent") return this.#begun(seq, facts, Date.parse(at));
    if (ends.has(kind)) return this.#ended(seq, facts, Date.parse(at));
    return [];
  }

  /** The run may spend more where people agreed to that: by a request for it, which was used. */
  #extended(facts: LedgerEntry["facts"]): readonly string[] {
    this.#limit += numberOf(facts["microUsd"]);
    const request = this.#record.approvals.find(({ id }) => id === facts["approval"]);
    return request !== undefined && wasUsed(request.state) && request.requirements.some(asksBeyond)
      ? []
      : [`step ${String(facts["seq"])}: the run's limit was raised, and nobody had approved that`];
  }

  /** Costs of the record that no entry bears out. Some may still wait to be entered. */
  unfounded(): readonly string[] {
    const { steps, ledger } = this.#record;
    if (ledger.waiting > 0) return [];
    return (
      steps
        // The cost of an answer that people still decide on is entered when they have.
        .filter(({ seq, state, costMicroUsd }) => state !== "waiting" && costMicroUsd !== (this.#costs.get(seq) ?? 0))
        .map(
          ({ seq, costMicroUsd }) =>
            `step ${seq}: cost ${costMicroUsd} micro-USD, the ledger says ${this.#costs.get(seq) ?? 0}`,
        )
    );
  }

  /**
   * The standings that a decision of then may have read: it is recorded only if no other decision was made meanwhile, while results may
   * have been.
   */
  #known(at: number): readonly Standing[] {
    const settled = this.#standings.findLastIndex((standing) => standing.at < at - lateMs);
    return this.#standings.slice(Math.max(0, Math.min(this.#before, settled)));
  }

  #decided(seq: number, facts: LedgerEntry["facts"], known: readonly Standing[]): readonly string[] {
    const decision = this.#decisions.get(`${seq}/${Number(facts["n"])}`);
    // On a model's answer it is decided with the standing of the call. One that is not in the record is the `join` check's to say.
    if (decision === undefined || decision.facts.response !== undefined) return [];
    const fits = known.filter(({ spent }) => spent === decision.facts.spentMicroUsd);
    if (fits.length === 0) {
      const possible = [...new Set(known.map(({ spent }) => spent))].join(" or ");
      return [
        `step ${seq}: decided when ${decision.facts.spentMicroUsd} micro-USD were spent, the steps before cost ${possible}`,
      ];
    }
    const own = decision.facts.budget?.budgets.find(({ name }) => name === "run");
    if (own === undefined) return [];
    return fits.some(({ spent, held }) => own.spent.microUsd === spent && own.held.microUsd === held)
      ? []
      : [
          `step ${seq}: its budget had ${own.spent.microUsd} micro-USD spent and ${own.held.microUsd} held, the steps before say otherwise`,
        ];
  }

  /** The intent comes with its decision: there has to have been room. */
  #begun(seq: number, facts: LedgerEntry["facts"], at: number): readonly string[] {
    const held = numberOf(facts["heldMicroUsd"]);
    this.#intents.set(seq, { held, facts });
    const least = held + Math.min(...this.#since.map((standing) => standing.spent + standing.held));
    const { spent, held: heldBefore } = this.#last();
    this.#standings.push({ spent, held: heldBefore + held, at });
    this.#before = this.#standings.length - 1;
    const beyond = `step ${seq}: begun with ${least} micro-USD spent and held, the run's limit was ${this.#limit}`;
    return [...(held === 0 || least <= this.#limit ? [] : [beyond]), ...this.#reserved(seq, held)];
  }

  /** What was held is what it was decided with, and no less than the longest answer costs at its price. */
  #reserved(seq: number, held: number): readonly string[] {
    const { decisions } = this.#record;
    const decided = decisions.findLast((one) => one.seq === seq && one.outcome === "allow" && !one.facts.response);
    const asked = decided?.facts.budget?.hold.microUsd ?? held;
    const price = priceIn(this.#intents.get(seq));
    const least = price === undefined ? 0 : ceilingOf(0, this.#mostTokens(decided), price);
    return [
      ...(asked === held ? [] : [`step ${seq}: ${held} micro-USD were held, it was decided with ${asked}`]),
      ...(least <= held ? [] : [`step ${seq}: ${held} micro-USD were held, its answer alone may cost ${least}`]),
    ];
  }

  /** Of an answer: what the release says, or what policies capped it to. That they did is seen where the step is decided again. */
  #mostTokens(decided: DecisionRecord | undefined): number {
    const most = this.#record.release.model.maxOutputTokens;
    if (decided === undefined || decided.effective === null) return most;
    const known = this.#sets(decided.policySet)?.policies;
    const caps = decided.policies.map((id) => known?.get(id)?.obligation).filter((one) => one?.kind === "cap");
    return Math.min(most, ...caps.map(({ max }) => max));
  }

  #last(): Standing {
    return this.#standings.at(-1) as Standing;
  }

  #ended(seq: number, facts: LedgerEntry["facts"], at: number): readonly string[] {
    const cost = numberOf(facts["costMicroUsd"]);
    const intent = this.#intents.get(seq);
    const before = this.#last();
    const first = !this.#costs.has(seq);
    this.#costs.set(seq, (this.#costs.get(seq) ?? 0) + cost);
    const released = first ? (intent?.held ?? 0) : 0;
    this.#standings.push({ spent: before.spent + cost, held: before.held - released, at });
    // An attempt of which nobody knows what it took is charged with all that the step held.
    const assumed = numberOf(facts["assumedMicroUsd"]);
    const held = intent?.held ?? 0;
    if (assumed !== 0 && (held === 0 || assumed % held !== 0))
      return [`step ${seq}: charged ${assumed} micro-USD for attempts unknown, which each would have taken ${held}`];
    const measured = cost - assumed;
    if (facts["inputTokens"] === undefined) {
      if (measured === 0) return [];
      // Answers that went nowhere as their runs were cancelled had no usage in earlier entries.
      if (facts["state"] !== "cancelled") return [`step ${seq}: cost ${measured} micro-USD without any usage`];
      this.unpriced += 1;
      return [];
    }
    const price = priceIn(intent);
    if (price === undefined) {
      this.unpriced += 1;
      return [];
    }
    this.recomputed += 1;
    const again = costOf(
      {
        input: numberOf(facts["inputTokens"]),
        cachedInput: numberOf(facts["cachedInputTokens"]),
        output: numberOf(facts["outputTokens"]),
        reasoning: numberOf(facts["reasoningTokens"]),
      },
      price,
    );
    // Usage is of all attempts together, and the cost of each is rounded up.
    return measured >= again && measured - again <= mostRounded
      ? []
      : [`step ${seq}: cost recorded \`${measured}\`, worked out again \`${again}\` micro-USD`];
  }
}

function priceIn(intent: Intent | undefined) {
  const [input, cached, output] = ["inputPerMillion", "cachedInputPerMillion", "outputPerMillion"].map(
    (name) => intent?.facts[name],
  );
  if (typeof input !== "number" || typeof cached !== "number" || typeof output !== "number") return undefined;
  return { inputPerMillion: input, cachedInputPerMillion: cached, outputPerMillion: output };
}

/** Facts that are no numbers are nobody's money. */
function numberOf(fact: LedgerEntry["facts"][string] | undefined): number {
  return typeof fact === "number" ? fact : 0;
}

/** The run's own, in their order. */
function entriesOf({ ledger }: RunRecord): readonly LedgerEntry[] {
  return readableEntries(ledger.entries)
    .map(({ entry }) => entry)
    .toSorted((a, b) => (a.run?.seq ?? 0) - (b.run?.seq ?? 0));
}
