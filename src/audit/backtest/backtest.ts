import { LRUCache } from "lru-cache";

import type { HistoryFact } from "../../core/decision.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { Release } from "../../core/release.ts";
import { callablesOf } from "../../core/retrieval.ts";
import { exhaustedBy, withBudgets } from "../../gate/index.ts";
import {
  causeOf,
  changeKinds,
  changeOf,
  compileInTurns,
  explain,
  parsePolicySet,
  PolicyError,
  unfit,
  verdictOf,
} from "../../policy/index.ts";
import type { ChangeKind, CompiledPolicies, PolicyRequest, PolicySetDocument, Verdict } from "../../policy/index.ts";
import { policySetByDigest, releaseByDigest } from "../../registry/index.ts";
import type { PayloadKeys, Tx } from "../../store/index.ts";
import { countDecisions, decidedRuns } from "./pages.ts";
import type { DecidedRun, DecidedStep } from "./pages.ts";
import { createRebuilder } from "./rebuild.ts";
import type { DeclaredFacts } from "./rebuild.ts";

export type BacktestRequest = {
  readonly team: string;
  readonly candidate: PolicySetDocument;
  /** Compared with what this set would have decided; absent: with what was decided. */
  readonly against?: PolicySetDocument;
  readonly since?: Date;
};

export type BacktestExample = {
  readonly kind: ChangeKind;
  readonly run: RunId;
  readonly seq: number;
  readonly n: number;
  readonly name: string;
  readonly from: Pick<Verdict, "outcome" | "policies">;
  readonly to: Pick<Verdict, "outcome" | "policies">;
};

export type BacktestReport = {
  readonly decisions: number;
  readonly runs: number;
  readonly counts: Readonly<Record<ChangeKind, number>>;
  /** Denied by the gate itself (a person said no, arguments that do not fit, …): no policy changes that. */
  readonly byTheGate: number;
  /** Not decided again, with the reasons. */
  readonly lost: number;
  readonly lostBecause: Readonly<Record<string, number>>;
  /** Changes by the policy that they are put down to, most first. */
  readonly causes: readonly { readonly kind: ChangeKind; readonly policy: string; readonly count: number }[];
  /** Up to 20 of each kind of change. */
  readonly examples: readonly BacktestExample[];
  readonly milliseconds: number;
};

export type BacktestOptions = {
  readonly tx: Tx;
  readonly keys: PayloadKeys;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
};

const examplesOfAKind = 20;
/** How long others wait for this thread at most, in milliseconds. */
const turnMs = 5;
const keptReleases = 50;
const keptCauses = 200;

/**
 * Decides every recorded decision of a team's runs again under another policy set: the arguments from the recorded answers of the model,
 * the facts as they were recorded. Nothing is written. Reads in pages, and lets others have their turn every few milliseconds. Throws
 * PolicyError `policies_invalid` for a set that is none, and the signal's reason once it is aborted.
 */
export async function backtest(
  request: BacktestRequest,
  { tx, keys, signal, onProgress }: BacktestOptions,
): Promise<BacktestReport> {
  const { team, since, candidate, against } = request;
  const started = performance.now();
  const answers = [candidate, ...(against === undefined ? [] : [against])].some(redactsAnswers);
  const scope = { team, since, answers };
  const tally = new Tally();
  const releases = new LRUCache<Digest, Prepared>({ max: keptReleases });
  const facts = new Map<Digest, readonly HistoryFact[] | undefined>();
  const turn = createTurn(signal);
  const total = await countDecisions(tx, scope);
  onProgress(0, total);

  for await (const page of decidedRuns(tx, keys, scope)) {
    signal.throwIfAborted();
    await learnFacts(tx, page, facts);
    for (const run of page) {
      const decisions = run.decisions.filter(({ at }) => since === undefined || at >= since);
      if (decisions.length === 0) continue;
      const prepared = releases.get(run.release) ?? (await prepare(tx, run.release, candidate, against));
      releases.set(run.release, prepared);
      const compare = createComparison(run, prepared, team, (digest) => facts.get(digest), against !== undefined);
      tally.runs += 1;
      for (const step of decisions) {
        tally.add(run.id, step, compare(step));
        await turn();
      }
    }
    onProgress(tally.decisions, total);
  }
  signal.throwIfAborted();
  return tally.report(performance.now() - started);
}

/** Perhaps: then the answers are read, too. */
function redactsAnswers({ policies }: PolicySetDocument): boolean {
  return policies.some(({ text }) => text.includes("data_classes"));
}

type Prepared = {
  readonly release: Release;
  readonly candidate: CompiledPolicies | undefined;
  readonly against: CompiledPolicies | undefined;
};

async function prepare(
  tx: Tx,
  digest: Digest,
  candidate: PolicySetDocument,
  against: PolicySetDocument | undefined,
): Promise<Prepared> {
  const release = await releaseByDigest(tx, digest);
  return {
    release,
    candidate: await compiledFor(candidate, release),
    against: against === undefined ? undefined : await compiledFor(against, release),
  };
}

/** Undefined where the set does not fit the release: the gate denies everything then. */
async function compiledFor(document: PolicySetDocument, release: Release): Promise<CompiledPolicies | undefined> {
  const checked = parsePolicySet(document);
  try {
    return await compileInTurns(checked, callablesOf(release.document));
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

/** The facts that the sets of then declared: what a recorded number means. */
async function learnFacts(
  tx: Tx,
  page: readonly DecidedRun[],
  facts: Map<Digest, readonly HistoryFact[] | undefined>,
): Promise<void> {
  const digests = new Set(page.flatMap((run) => run.decisions.map(({ policySet }) => policySet)));
  for (const digest of digests) {
    if (facts.has(digest)) continue;
    const { document } = await policySetByDigest(tx, digest);
    facts.set(digest, parsePolicySet(document).history ?? []);
  }
}

type Comparison =
  | { readonly status: "compared"; readonly from: Verdict; readonly to: Verdict }
  | { readonly status: "gate" }
  | { readonly status: "lost"; readonly reason: string };

function createComparison(
  run: DecidedRun,
  { release, candidate, against }: Prepared,
  team: string,
  declared: DeclaredFacts,
  isBetweenSets: boolean,
): (step: DecidedStep) => Comparison {
  const rebuild = createRebuilder(run, release, team, declared);

  function verdictUnder(step: DecidedStep, policies: CompiledPolicies | undefined): Verdict | Comparison {
    const rebuilt = rebuild(step, policies);
    if (rebuilt.status !== "ready") return rebuilt;
    return policies === undefined ? unfit : decideAgain(policies, rebuilt.request, step, run.salt);
  }

  return (step) => {
    const to = verdictUnder(step, candidate);
    if ("status" in to) return to;
    const from = isBetweenSets ? verdictUnder(step, against) : recorded(step);
    return "status" in from ? from : { status: "compared", from, to };
  };
}

function decideAgain(
  policies: CompiledPolicies,
  request: PolicyRequest,
  { approved, facts }: DecidedStep,
  salt: string | undefined,
): Verdict {
  const { decision, effective } = explain(policies, request, approved);
  return verdictOf(withBudgets(decision, exhaustedBy(facts.budget), approved), effective, salt);
}

function recorded({ outcome, code, policies, effective, shadow, witnesses }: DecidedStep): Verdict {
  return { outcome, code, policies, effective, shadow, witnesses: witnesses ?? 0 };
}

/** Ends the turn of who works for long, so that requests and cancellation come through. */
function createTurn(signal: AbortSignal): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < turnMs) return undefined;
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        since = performance.now();
        if (signal.aborted) reject(signal.reason as Error);
        else resolve();
      });
    });
  };
}

class Tally {
  decisions = 0;
  runs = 0;
  #byTheGate = 0;
  #lost = 0;
  readonly #counts = Object.fromEntries(changeKinds.map((kind) => [kind, 0])) as Record<ChangeKind, number>;
  readonly #reasons = new Map<string, number>();
  readonly #causes = new Map<string, { kind: ChangeKind; policy: string; count: number }>();
  readonly #examples: BacktestExample[] = [];

  add(run: RunId, step: DecidedStep, comparison: Comparison): void {
    this.decisions += 1;
    if (comparison.status === "gate") {
      this.#byTheGate += 1;
    } else if (comparison.status === "lost") {
      this.#lost += 1;
      this.#reasons.set(comparison.reason, (this.#reasons.get(comparison.reason) ?? 0) + 1);
    } else {
      this.#compare(run, step, comparison.from, comparison.to);
    }
  }

  #compare(run: RunId, { seq, n, name }: DecidedStep, from: Verdict, to: Verdict): void {
    const kind = changeOf(from, to);
    this.#counts[kind] += 1;
    if (kind === "unchanged") return;
    const policy = causeOf(from, to);
    const cause = this.#causes.get(`${kind} ${policy}`) ?? { kind, policy, count: 0 };
    this.#causes.set(`${kind} ${policy}`, { ...cause, count: cause.count + 1 });
    if (this.#counts[kind] > examplesOfAKind) return;
    const brief = ({ outcome, policies }: Verdict) => ({ outcome, policies });
    this.#examples.push({ kind, run, seq, n, name, from: brief(from), to: brief(to) });
  }

  report(milliseconds: number): BacktestReport {
    return {
      decisions: this.decisions,
      runs: this.runs,
      counts: { ...this.#counts },
      byTheGate: this.#byTheGate,
      lost: this.#lost,
      lostBecause: Object.fromEntries([...this.#reasons].toSorted(([, a], [, b]) => b - a)),
      causes: [...this.#causes.values()].toSorted((a, b) => b.count - a.count).slice(0, keptCauses),
      examples: this.#examples,
      milliseconds: Math.round(milliseconds),
    };
  }
}
