import {
  CompactRange,
  equalHashes,
  leafHash,
  openCheckpoint,
  parseVerifierKey,
} from "../../../src/ledger/proof/index.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { contentDigest, digestOf } from "../../../src/store/canonical.ts";
import type { Facts } from "./facts.ts";
import { effectsOf, highAmount, refOf } from "./prompts.ts";

/** What must hold whatever failed: the numbers are those of the plan (docs/faults.md). Each gives what is wrong, and nothing where all is well. */
export const invariants = {
  I1: "an effect happens at most once per key and per errand, counted at the tool",
  I2: "no high payment without two people's approval of that very call before it",
  I3: "every effect has an intent that was committed before it",
  I4: "every intent has its end, and every end its entry",
  I5: "what was acknowledged is in every later checkpoint",
  I6: "all checkpoints ever signed are of one tree",
  I7: "indexes and the runs' own numbers are dense",
  I8: "no event is in a log twice",
  I9: "every run has ended, or waits for something that has a name",
  I10: "histories replay on the code that they were recorded with",
  I11: "no row of one team points to another's",
  I12: "nothing acts while what it would be recorded in is away",
  I13: "once faults stop, at least 95 % succeeds, and enough was done",
  I14: "records and exported evidence are verified",
} as const;
export type Invariant = keyof typeof invariants;
export type Problems = { readonly [Name in Invariant]: readonly string[] };

/** What a case has to have done, so that it cannot pass by doing nothing. */
export type Minimum = { readonly effects: number; readonly finalWave: number };

export function checkInvariants(facts: Facts, minimum: Minimum): Problems {
  return {
    I1: effectsOnce(facts),
    I2: highOnlyApproved(facts),
    I3: intendedBefore(facts),
    I4: ended(facts),
    I5: nothingLost(facts),
    I6: oneTree(facts),
    I7: dense(facts),
    I8: noneTwice(facts),
    I9: runsEnd(facts),
    I10: facts.audits.flatMap(({ run, replay }) =>
      replay.checks.flatMap((one) =>
        one.status === "passed" ? [] : [`${run}: ${one.name}: ${one.detail} ${one.problems.join("; ")}`],
      ),
    ),
    I11: apart(facts),
    I12: failClosed(facts),
    I13: succeeded(facts, minimum),
    I14: verified(facts),
  };
}

const acts = ({ tool }: Facts["calls"][number]): boolean => tool !== "look";
const placeOf = (key: string): string => key.replace(".", " step ");

function effectsOnce({ calls }: Facts): readonly string[] {
  const effects = calls.filter(({ effect }) => effect);
  const problems = repeated(effects.map(({ tool, key }) => `${tool} ${key}`)).map(
    (what) => `${what}: done more than once`,
  );
  // The same errand under two keys would be two effects that no key tells apart.
  const byErrand = repeated(effects.map(({ tool, args }) => `${tool} ${refOf(args)}`));
  const shouted = repeated(calls.filter(({ tool }) => tool === "shout").map(({ key }) => key));
  const changed = [...groups(calls, ({ key }) => key)].filter(
    ([, same]) => new Set(same.map(({ args }) => digestOf(args))).size > 1,
  );
  return [
    ...problems,
    ...byErrand.map((what) => `${what}: done under more than one key`),
    ...shouted.map((key) => `${key}: a call that may not be repeated was`),
    ...changed.map(([key]) => `${key}: repeated with other arguments`),
  ];
}

function highOnlyApproved({ calls, steps, requests, records }: Facts): readonly string[] {
  return calls.filter(isHigh).flatMap(({ key, args, at, granted }) => {
    const [run, seq] = parts(key);
    const step = steps.find((one) => one.run === run && one.seq === seq);
    const request = requests.find(
      (one) => one.run === run && one.seq === seq && ["consumed", "outcome_unknown"].includes(one.state),
    );
    if (step === undefined || request === undefined) return [`${key}: nobody approved it`];
    if (granted === "no") return [`${key}: its approval was not consumed yet when it was made`];
    if (request.action !== step.action) return [`${key}: another action was approved`];
    const salt = records.find((record) => record.run.id === run)?.salt;
    if (contentDigest(salt, args) !== step.arguments) return [`${key}: made with other arguments than were approved`];
    if (request.approvedBy.length < 2) return [`${key}: approved by ${request.approvedBy.length} people`];
    return request.decidedAt !== null && request.decidedAt <= at ? [] : [`${key}: approved after it was made`];
  });
}

function isHigh({ tool, args }: { readonly tool: string; readonly args: JsonObject }): boolean {
  return tool === "pay" && Number(args["amount_cents"]) >= highAmount;
}

function intendedBefore({ calls, effects, entries }: Facts): readonly string[] {
  const keys = new Set(entries.map(({ dedupKey }) => dedupKey));
  return calls.flatMap(({ key, at, intended }) => {
    const [run, seq] = parts(key);
    const effect = effects.find((one) => one.key === key);
    if (effect === undefined) return [`${key}: no intent`];
    if (intended === "no") return [`${key}: its intent was not committed when it was made`];
    if (effect.intendedAt > at) return [`${key}: intended after it was made`];
    return keys.has(`${run}/${seq}/intent`) ? [] : [`${key}: no intent in the ledger`];
  });
}

/** Of a run that is closed: one that waits may well have an intent whose end a person has to find out. */
function ended({ effects, steps, runs, entries, calls, outcomes }: Facts): readonly string[] {
  const keys = new Set(entries.map(({ dedupKey }) => dedupKey));
  const open = new Set(runs.filter(({ closed }) => !closed).map(({ id }) => id));
  const done = new Set(calls.filter(acts).map(({ key }) => key));
  const problems = effects.flatMap(({ run, seq, key, state }) => {
    if (open.has(run)) return [];
    if (state === "intended") return [`${placeOf(key)}: closed without an end`];
    const step = steps.find((one) => one.run === run && one.seq === seq);
    const missing = keys.has(`${run}/${seq}/result`) ? [] : [`${placeOf(key)}: no end in the ledger`];
    const unreconciled =
      state === "reconciled" && !keys.has(`${run}/${seq}/reconciled`)
        ? [`${placeOf(key)}: what a person found is not in the ledger`]
        : [];
    const said = outcomes.some((one) => one.run === run && one.seq === seq);
    const made = step?.kind !== "tool" || step.name === "look" || step.state !== "done" || said || done.has(key);
    return [
      ...missing,
      ...unreconciled,
      ...(made ? [] : [`${placeOf(key)}: recorded as done, and the tool never saw it`]),
    ];
  });
  const held = runs.flatMap(({ id, closed, heldMicroUsd }) =>
    closed && heldMicroUsd !== 0 ? [`${id}: closed, and still holds ${heldMicroUsd} micro-USD`] : [],
  );
  return [...problems, ...held];
}

function nothingLost({ acknowledged, seen, entries, waiting }: Facts): readonly string[] {
  const at = new Map(entries.map(({ log, index, leafHash: leaf }) => [`${log}/${index}`, leaf]));
  const keys = new Set([...entries, ...waiting].map(({ log, dedupKey }) => `${log}/${dedupKey}`));
  return [
    ...seen.flatMap(({ log, index, leafHash: leaf }) =>
      at.get(`${log}/${index}`) === leaf ? [] : [`${log} entry ${index}: not what it was when it was signed`],
    ),
    ...acknowledged.flatMap(({ log, dedupKey }) =>
      keys.has(`${log}/${dedupKey}`) ? [] : [`${log}: \`${dedupKey}\` was acknowledged, and is lost`],
    ),
  ];
}

function oneTree({ entries, checkpoints, verifierKeys }: Facts): readonly string[] {
  const roots = new Map<string, Uint8Array>();
  for (const [log, own] of groups(entries, (entry) => entry.log)) {
    const tree = CompactRange.empty();
    for (const { body } of own) {
      tree.append(leafHash(body));
      roots.set(`${log}/${tree.size}`, tree.root());
    }
  }
  return checkpoints.flatMap(({ log, size, note }) => {
    try {
      const signed = openCheckpoint(note, parseVerifierKey(verifierKeys[log] ?? ""));
      const root = roots.get(`${log}/${size}`);
      return signed.size === size && root !== undefined && equalHashes(root, signed.root)
        ? []
        : [`${log}: the checkpoint of size ${size} is of another tree`];
    } catch (error) {
      return [`${log}: the checkpoint of size ${size} does not hold: ${(error as Error).message}`];
    }
  });
}

function dense({ entries }: Facts): readonly string[] {
  const problems: string[] = [];
  for (const [log, own] of groups(entries, (entry) => entry.log)) {
    own.forEach(({ index }, place) => index !== place && problems.push(`${log}: entry ${index} is at place ${place}`));
    for (const [run, ofRun] of groups(own, (entry) => entry.run))
      if (run !== null)
        ofRun.forEach(({ seq }, place) => seq !== place && problems.push(`${run}: number ${seq} is at place ${place}`));
  }
  return problems;
}

function noneTwice({ entries }: Facts): readonly string[] {
  return repeated(entries.map(({ log, dedupKey }) => `${log}: \`${dedupKey}\``)).map(
    (what) => `${what} is there more than once`,
  );
}

function runsEnd({ started, runs, requests, outcomes }: Facts): readonly string[] {
  const lost = started
    .filter(({ id }) => runs.every((run) => run.id !== id))
    .map(({ id }) => `${id}: acknowledged, and not there`);
  return [
    ...lost,
    ...runs.flatMap(({ id, closed, status, workflow }) => {
      if (closed) return workflow === "RUNNING" ? [`${id}: ${status}, and its workflow still runs`] : [];
      const named =
        requests.some((one) => one.run === id && one.state === "pending") ||
        outcomes.some((one) => one.run === id && one.state === "open");
      // One that nobody was told of may never have been started: its caller asks again.
      if (status === "pending" && started.every((one) => one.id !== id)) return [];
      return named && workflow === "RUNNING"
        ? []
        : [`${id}: ${status}, workflow ${workflow ?? "unknown"}, and waits for nothing`];
    }),
  ];
}

function apart({ runs, requests, outcomes, entries, waiting }: Facts): readonly string[] {
  const teamOf = new Map(runs.map(({ id, team }) => [id, team]));
  const strays = (rows: readonly { readonly run: string | null; readonly of: string }[], what: string) =>
    rows.flatMap(({ run, of }) =>
      run === null || teamOf.get(run as never) === of
        ? []
        : [`${what} of \`${of}\` is about ${run} of \`${teamOf.get(run as never)}\``],
    );
  return [
    ...strays(
      requests.map(({ run, team }) => ({ run, of: team })),
      "a request",
    ),
    ...strays(
      outcomes.map(({ run, team }) => ({ run, of: team })),
      "an unknown outcome",
    ),
    ...strays(
      entries.map(({ run, log }) => ({ run, of: log })),
      "an entry",
    ),
    ...strays(
      waiting.map(({ run, log }) => ({ run, of: log })),
      "an event",
    ),
  ];
}

/** Around an outage, connections break before it is noted, and are not there yet after it. */
const aroundMs = 5_000;

/** A call that came while what it is recorded in was away has to have been intended before. */
function failClosed({ calls, effects, outages }: Facts): readonly string[] {
  return calls.flatMap(({ key, at, intended }) => {
    const intendedAt = effects.find((one) => one.key === key)?.intendedAt ?? Infinity;
    const away = outages.find(({ from, to }) => at > from && at < to && intendedAt >= from);
    if (away !== undefined) return [`${key}: made while ${away.what}, and intended then`];
    const near = outages.some(({ from, to }) => at > from - aroundMs && at < to + aroundMs);
    return intended === "unseen" && !near ? [`${key}: made while nobody could read its intent`] : [];
  });
}

function succeeded({ started, runs, calls }: Facts, minimum: Minimum): readonly string[] {
  const effects = calls.filter((call) => acts(call) && call.effect);
  const final = started.filter(({ wave }) => wave === minimum.finalWave);
  const completed = final.filter(({ id }) => runs.some((run) => run.id === id && run.status === "completed"));
  const wanted = final.reduce((sum, { errand }) => sum + effectsOf[errand], 0);
  const done = effects.filter(({ args }) =>
    final.some(({ ref }) => refOf(args) === ref || refOf(args).replace(/-[12]$/, "") === ref),
  ).length;
  const ends = [...groups(runs, ({ status, failure }) => (failure === null ? status : `${status} (${failure})`))]
    .map(([end, same]) => `${same.length} ${end}`)
    .join(", ");
  return [
    ...(effects.length < minimum.effects
      ? [`${effects.length} effects, at least ${minimum.effects} have to be done; runs: ${ends}`]
      : []),
    ...(final.length === 0 ? ["nothing was asked for after the faults"] : []),
    ...(completed.length < 0.95 * final.length
      ? [`${completed.length} of the ${final.length} runs after the faults were completed`]
      : []),
    ...(done < 0.95 * wanted ? [`${done} of the ${wanted} effects asked for after the faults were done`] : []),
  ];
}

function verified({ audits, bundle, started, seals, waiting }: Facts): readonly string[] {
  const missing = started.filter(({ id }) => audits.every(({ run }) => run !== id)).map(({ id }) => `${id}: no record`);
  const refuted = audits.flatMap(({ run, evidence }) =>
    evidence.verdict === "verified"
      ? []
      : evidence.checks.flatMap((one) =>
          one.status === "passed" ? [] : [`${run}: ${one.name}: ${one.detail} ${one.problems.join("; ")}`],
        ),
  );
  const findings =
    bundle?.checks.flatMap((one) =>
      one.findings.map(({ code, where, message }) => `bundle: ${code} ${where}: ${message}`),
    ) ?? [];
  return [
    ...missing,
    ...refuted,
    ...seals.flatMap(({ run, position, archived }) =>
      archived ? [] : [`${run}: execution ${position} is not sealed`],
    ),
    ...(waiting.length === 0 ? [] : [`${waiting.length} events still wait for the ledger`]),
    ...(bundle?.verdict === "verified"
      ? []
      : [`the exported bundle is ${bundle?.verdict ?? "not there"}`, ...findings]),
  ];
}

function parts(key: string): readonly [string, number] {
  const [run = "", seq] = key.split(".");
  return [run, Number(seq)];
}

function groups<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const found = new Map<Key, Item[]>();
  for (const item of items) found.set(keyOf(item), [...(found.get(keyOf(item)) ?? []), item]);
  return found;
}

function repeated(names: readonly string[]): readonly string[] {
  return [...groups(names, (name) => name)].filter(([, same]) => same.length > 1).map(([name]) => name);
}
