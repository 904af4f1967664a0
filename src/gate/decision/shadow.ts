import { isDeepStrictEqual } from "node:util";

import { LRUCache } from "lru-cache";

import type { HistoryFact, RunFacts } from "../../core/decision.ts";
import { responseAction, shadowDecide } from "../../policy/index.ts";
import type { RedactionOf, Verdict } from "../../policy/index.ts";
import { activeShadow, addShadowCounts } from "../../registry/index.ts";
import type { PolicyShadow, ShadowCount } from "../../registry/index.ts";
import type { Pool } from "../../store/index.ts";
import type { RunContext } from "../governed-call.ts";
import type { HistoryCounter, HistoryRequest } from "../history/history.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import { policyRequestOf } from "./asked.ts";
import { actionOf } from "./judge.ts";
import { policiesFor } from "./policies.ts";

/** How long a team's candidate is remembered, and how long counts wait to be written, in milliseconds. */
const pauseMs = 1_000;
/** Decisions of one worker that wait for their candidate; more are counted as skipped. */
const maxWaiting = 500;

/** A call that was decided on, or a model's answer. */
export type DecidedBeside = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly isAnswer: boolean;
  readonly facts: () => RunFacts;
  /** What was counted for the policies in force. */
  readonly counted: readonly HistoryFact[];
  readonly actual: Verdict;
  /** Of an answer: makes it without some classes of data. */
  readonly redacted?: RedactionOf;
  /** The policies in force say nothing of answers, and let this one through: it counts where the candidate speaks of them. */
  readonly unasked?: boolean;
};

export type Shadow = {
  /** To be called after a decision. */
  readonly beside: (decided: DecidedBeside) => void;
  /** Ends when every decision so far has been decided beside, and counted in the database. Never throws. */
  readonly settled: () => Promise<void>;
};

/**
 * Lets a team's candidate policies decide beside those in force, after a decision is made. Never waits and never throws: what goes wrong is a
 * count. What was counted in the last second is written by `settled`, and lost where a worker dies without it.
 */
export function createShadow(pool: Pool, now: () => Date, count: HistoryCounter): Shadow {
  const shadows = new LRUCache<string, Promise<PolicyShadow | undefined>>({ max: 1_000, ttl: pauseMs });
  const counts = new Map<number, Map<string, ShadowCount>>();
  const waiting = new Set<Promise<void>>();
  let timer: NodeJS.Timeout | undefined;
  let counting: Promise<unknown> = Promise.resolve();

  function shadowOf(team: string): Promise<PolicyShadow | undefined> {
    const known = shadows.get(team);
    if (known !== undefined) return known;
    const found = activeShadow(pool, team).catch(() => undefined);
    shadows.set(team, found);
    return found;
  }

  function add(shadow: number, kind: string, policy: string, name: string): void {
    const own = counts.get(shadow) ?? new Map<string, ShadowCount>();
    const key = JSON.stringify([kind, policy, name]);
    own.set(key, { kind, policy, name, count: (own.get(key)?.count ?? 0) + 1 });
    counts.set(shadow, own);
    timer ??= setTimeout(() => void write(), pauseMs).unref();
  }

  async function write(): Promise<void> {
    timer = undefined;
    const all = [...counts];
    counts.clear();
    for (const [shadow, own] of all)
      await addShadowCounts(pool, shadow, [...own.values()], now()).catch(() => undefined);
  }

  /** One after the other, so that decisions find the other connections free. */
  function countOwn(request: HistoryRequest): ReturnType<HistoryCounter> {
    if (request.facts.length === 0) return Promise.resolve({});
    const mine = counting.then(() => count(pool, request));
    counting = mine.catch(() => undefined);
    return mine;
  }

  async function decideBeside({ run, step, ...decided }: DecidedBeside): Promise<void> {
    const shadow = await shadowOf(run.team);
    if (shadow === undefined) return;
    const name = decided.isAnswer ? responseAction : step.name;
    if (waiting.size > maxWaiting) return add(shadow.id, "skipped", "", name);
    try {
      const candidate = await policiesFor(pool, shadow.policySet, run);
      const slice = candidate?.slices.get(decided.isAnswer ? responseAction : actionOf(step));
      if (decided.unasked === true && candidate !== undefined && slice === undefined) return;
      const facts = decided.facts();
      // What is not counted for the policies in force, or is another fact of the same name, was not counted for this decision.
      const counted = new Map(decided.counted.map((fact) => [fact.name, fact]));
      const isKnown = (fact: HistoryFact): boolean =>
        Object.hasOwn(facts.history, fact.name) && isDeepStrictEqual(counted.get(fact.name), fact);
      const own = (slice?.history ?? []).filter((fact) => !isKnown(fact));
      const history = {
        ...facts.history,
        ...(await countOwn({ run, seq: step.seq, now: new Date(facts.at), facts: own })),
      };
      const { kind, cause } = shadowDecide(
        candidate,
        policyRequestOf(run, step, { ...facts, history }, decided.redacted),
        decided.actual,
      );
      add(shadow.id, kind, cause, name);
    } catch {
      add(shadow.id, "error", "", name);
    }
  }

  return {
    beside(decided) {
      // After the decision, and not in its way.
      const done = new Promise<void>((resolve) => setImmediate(resolve)).then(() => decideBeside(decided));
      waiting.add(done);
      void done.finally(() => waiting.delete(done));
    },
    async settled() {
      await Promise.allSettled(waiting);
      clearTimeout(timer);
      await write();
    },
  };
}
