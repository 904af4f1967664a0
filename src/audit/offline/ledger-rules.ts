import type { LedgerEntry } from "../../core/ledger-event.ts";
import { hexOf, noPrevious } from "../../ledger/proof/index.ts";
import type { Hash } from "../../ledger/proof/index.ts";
import { cosigningFault, wasMade } from "../ledger/cosigned.ts";
import { notInForce } from "../ledger/in-force.ts";
import type { Activation } from "../ledger/in-force.ts";
import type { CheckName, Findings } from "./findings.ts";
import { StandingRules } from "./standing-rules.ts";

type Run = {
  seq: number;
  /** As hexadecimal: bytes would keep those alive that they were allocated with. */
  hash: string;
  closed: boolean;
  /** Absent once it is closed, so that memory does not grow with what is over. */
  open: OpenRun | undefined;
};
type OpenRun = {
  readonly decided: Map<number, { outcome: string; action: string; witnesses: number }>;
  /** With the index of the intent. */
  readonly begun: Map<number, number>;
  readonly ended: Map<number, string>;
  readonly approvals: Map<string, string>;
  /** Steps that a standing grant was used for, by their number. */
  readonly ahead: Map<number, string>;
  cost: number;
};

/**
 * What must hold between entries whatever they tell of: the chain of each run, nothing begun that was not allowed, nothing ended that was not
 * begun, closing counts, policy sets in force. Entries come in the order of their indexes; memory grows with open runs, and by a few
 * words for each closed one.
 */
export class LedgerRules {
  readonly #findings: Findings;
  readonly #log: string;
  readonly #recorded: ReadonlySet<string>;
  readonly #runs = new Map<string, Run>();
  readonly #activations: Activation[] = [];
  readonly #standing: StandingRules;
  /** Sizes of checkpoints on which recorded runs made calls that had to wait for witnesses, and how many had to have cosigned each. */
  readonly #cosigned = new Map<number, number>();
  #closed = 0;
  #decisions = 0;

  /** `recorded`: the runs whose records are there too. `whole`: every entry of the log comes, so that uses of standing grants can be counted. */
  constructor(log: string, recorded: ReadonlySet<string>, findings: Findings, whole: boolean) {
    this.#log = log;
    this.#recorded = recorded;
    this.#standing = new StandingRules(whole, (code, index, message) => this.#say("approvals", code, index, message));
    this.#findings = findings;
  }

  get runs(): number {
    return this.#runs.size;
  }

  /** Runs that the bundle has entries of, and no record. */
  get unrecorded(): readonly string[] {
    return [...this.#runs.keys()].filter((run) => !this.#recorded.has(run));
  }

  get closed(): number {
    return this.#closed;
  }

  get decisions(): number {
    return this.#decisions;
  }

  get activations(): number {
    return this.#activations.length;
  }

  get cosigned(): ReadonlyMap<number, number> {
    return this.#cosigned;
  }

  take(index: number, entry: LedgerEntry, leaf: Hash): void {
    if (entry.log !== this.#log) this.#say("leaves", "entry_malformed", index, `entry is of log \`${entry.log}\``);
    if (entry.run === undefined) {
      if (entry.kind === "policy.activated")
        this.#activations.push({ index, at: entry.at, policySet: String(entry.facts["policySet"]) });
      this.#standing.take(index, entry);
      return;
    }
    const run = this.#chain(index, entry, entry.run, leaf);
    if (entry.kind === "step.decided") this.#policyInForce(index, entry);
    if (run.open === undefined) return;
    if (entry.kind === "run.closed") {
      this.#close(index, entry, run.open);
      run.open = undefined;
      run.closed = true;
      this.#closed += 1;
    } else this.#step(index, entry, run.open);
  }

  #chain(index: number, { kind }: LedgerEntry, place: NonNullable<LedgerEntry["run"]>, leaf: Hash): Run {
    const known = this.#runs.get(place.id);
    const expected = known === undefined ? 0 : known.seq + 1;
    const previous = known?.hash ?? noPrevious;
    if (place.seq !== expected)
      this.#say("runs", "run_gap", index, `run \`${place.id}\` has seq ${place.seq}, expected ${expected}`);
    else if (place.prev !== previous)
      this.#say("runs", "run_gap", index, `run \`${place.id}\` seq ${place.seq} does not chain to the entry before it`);
    if (known?.closed === true && kind !== "step.reconciled")
      this.#say("runs", "entry_after_close", index, `\`${kind}\` of run \`${place.id}\``);
    const hash = hexOf(leaf);
    if (known === undefined) {
      const run: Run = { seq: place.seq, hash, closed: false, open: newRun() };
      this.#runs.set(place.id, run);
      return run;
    }
    known.seq = place.seq;
    known.hash = hash;
    return known;
  }

  #step(index: number, entry: LedgerEntry, open: OpenRun): void {
    const seq = Number(entry.facts["seq"]);
    const kind: string = entry.kind;
    switch (kind) {
      case "step.decided":
        this.#decisions += 1;
        if (entry.facts["standingGrant"] !== undefined && open.ahead.get(seq) !== entry.facts["standingGrant"])
          this.#say(
            "approvals",
            "standing_grant_exceeded",
            index,
            `step ${seq}: no use of its standing grant goes before`,
          );
        open.decided.set(seq, {
          outcome: String(entry.facts["outcome"]),
          action: String(entry.facts["action"]),
          witnesses: Number(entry.facts["witnesses"] ?? 0),
        });
        return;
      case "standing.used":
        this.#standing.take(index, entry);
        if (open.ahead.has(seq) || open.begun.has(seq))
          this.#say("approvals", "standing_grant_exceeded", index, `step ${seq}: it was decided on before`);
        open.ahead.set(seq, String(entry.facts["grant"]));
        return;
      case "step.intent": {
        const decided = open.decided.get(seq);
        if (decided?.outcome !== "allow" || decided.action !== entry.facts["action"])
          this.#say("runs", "intent_without_decision", index, `step ${seq}: the decision before it does not allow it`);
        if (open.begun.has(seq)) this.#say("runs", "intent_without_decision", index, `step ${seq}: begun twice`);
        open.begun.set(seq, index);
        return;
      }
      case "step.result":
      case "step.unknown":
      case "step.reconciled": {
        const before = open.ended.get(seq);
        if (!open.begun.has(seq)) this.#say("runs", "result_without_intent", index, `step ${seq}`);
        else if (before !== undefined && !(before === "step.unknown" && kind === "step.reconciled"))
          this.#say("runs", "result_without_intent", index, `step ${seq}: it ended twice`);
        if (kind !== "step.reconciled") this.#cosigning(index, entry, open);
        open.ended.set(seq, kind);
        open.cost += Number(entry.facts["costMicroUsd"] ?? 0);
        return;
      }
      case "step.resolution_refused":
        if (open.ended.get(seq) !== "step.unknown")
          this.#say(
            "runs",
            "result_without_intent",
            index,
            `step ${seq}: what was said of it was refused, but it was known`,
          );
        return;
      default:
        if (kind.startsWith("approval.")) this.#approval(index, entry, open);
    }
  }

  #cosigning(index: number, entry: LedgerEntry, { decided, begun }: OpenRun): void {
    const seq = Number(entry.facts["seq"]);
    const witnesses = decided.get(seq)?.witnesses ?? 0;
    if (witnesses === 0) return;
    const fault = cosigningFault(entry, begun.get(seq), index);
    if (fault !== undefined) this.#say("witnesses", "not_cosigned", index, `step ${seq}: ${fault}`);
    else if (wasMade(entry) && this.#recorded.has(entry.run?.id ?? "")) {
      const size = Number(entry.facts["checkpoint"]);
      this.#cosigned.set(size, Math.max(witnesses, this.#cosigned.get(size) ?? 0));
    }
  }

  #approval(index: number, { kind, facts }: LedgerEntry, { approvals }: OpenRun): void {
    const id = String(facts["approval"]);
    const state = approvals.get(id);
    const fits: Readonly<Record<string, readonly (string | undefined)[]>> = {
      "approval.requested": [undefined],
      "approval.approved": ["pending"],
      "approval.denied": ["pending", "approved"],
      "approval.consumed": ["approved"],
      "approval.expired": ["pending", "approved"],
      "approval.cancelled": ["pending", "approved"],
      "approval.edited": ["pending"],
    };
    if (fits[kind] !== undefined && !fits[kind].includes(state))
      this.#say(
        "runs",
        "approval_out_of_order",
        index,
        `\`${kind}\` of \`${id}\`, which is ${state ?? "not requested"}`,
      );
    if (kind === "approval.requested") approvals.set(id, "pending");
    else if (kind === "approval.approved" || kind === "approval.denied") approvals.set(id, String(facts["state"]));
    else if (fits[kind] !== undefined) approvals.set(id, kind.slice("approval.".length));
  }

  #close(index: number, { facts }: LedgerEntry, open: OpenRun): void {
    for (const seq of open.begun.keys()) {
      if (!open.ended.has(seq)) this.#say("runs", "intent_without_end", index, `step ${seq}`);
    }
    if (facts["steps"] !== open.decided.size)
      this.#say(
        "runs",
        "run_count",
        index,
        `closed with ${String(facts["steps"])} steps, ${open.decided.size} were decided on`,
      );
    if (facts["spentMicroUsd"] !== open.cost)
      this.#say(
        "runs",
        "run_count",
        index,
        `closed with ${String(facts["spentMicroUsd"])} micro-USD, its steps cost ${open.cost}`,
      );
  }

  #policyInForce(index: number, { at, facts }: LedgerEntry): void {
    const decided = { seq: String(facts["seq"]), at, policySet: String(facts["policySet"]) };
    const problem = notInForce(this.#activations, decided);
    if (problem !== undefined) this.#say("policies", "policy_not_in_force", index, problem);
  }

  #say(check: CheckName, code: Parameters<Findings["add"]>[1], index: number, message: string): void {
    this.#findings.add(check, code, `${this.#log} entry ${index}`, message);
  }
}

function newRun(): OpenRun {
  return { decided: new Map(), begun: new Map(), ended: new Map(), approvals: new Map(), ahead: new Map(), cost: 0 };
}
