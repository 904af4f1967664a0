import { createHash } from "node:crypto";

import { faultKinds, faultPoints, faultText, parseFaults } from "../../../src/faults/index.ts";
import type { Fault, FaultKind, FaultPoint } from "../../../src/faults/index.ts";
import { disturbanceNames } from "./disturbances.ts";
import type { Disturbance, DisturbanceName } from "./disturbances.ts";
import { isIn } from "./roles.ts";

/** What one world has to bear. */
export type Plan = {
  readonly faults: readonly Fault[];
  readonly disturbances: readonly Disturbance[];
  /** In processes that have been at work, among other such plans: hits are counted from its beginning. Else in a world of its own. */
  readonly warm?: true;
};

/** `POINT:HIT:KIND,…+DISTURBANCE@MS,…+warm`, with what is not of it left out; `none` for no faults and disturbances. */
export function planText({ faults, disturbances, warm }: Plan): string {
  const around = disturbances.map(({ name, afterMs }) => `+${name}@${afterMs}`).join("");
  const text = `${faults.map(faultText).join(",")}${around}`;
  return `${text === "" ? "none" : text}${warm === true ? "+warm" : ""}`;
}

/** Undefined where it is no plan. */
export function parsePlan(text: string): Plan | undefined {
  const warm = text.endsWith("+warm");
  const [inside = "", ...around] = (warm ? text.slice(0, -"+warm".length) : text).split("+");
  const faults = inside === "" ? [] : parseFaults(inside);
  const disturbances = around.flatMap((one): readonly Disturbance[] => {
    const [name, afterMs = ""] = one.split("@");
    const known = disturbanceNames.find((each) => each === name);
    return known === undefined || !/^\d{1,6}$/.test(afterMs) ? [] : [{ name: known, afterMs: Number(afterMs) }];
  });
  if (faults === undefined || disturbances.length < around.length || (warm && around.length > 0)) return undefined;
  return warm ? { faults, disturbances, warm } : { faults, disturbances };
}

/** What it takes for a process to come to a point at all. */
const before: { readonly [Point in FaultPoint]?: Fault } = {
  "effect.again": { point: "effect.record", hit: 1, kind: "throw" },
};

export function planOf(...faults: readonly Fault[]): Plan {
  return { faults: faults.flatMap((fault) => [before[fault.point] ?? [], fault].flat()), disturbances: [] };
}

/** The short set: every point once, with the kind that hurts most, those of different processes in one world. The first of two in one process must not end it. */
const short: readonly string[] = [
  "run.open:1:kill,decision.write:4:do-then-throw,run.start:1:do-then-throw,witness.ask:2:do-then-throw,run.register:2:do-then-kill",
  "model.call:2:do-then-throw,model.record:3:kill,approval.decide:1:do-then-throw,ledger.entries:4:kill",
  "effect.call:2:do-then-throw,effect.again:1:do-then-throw,approval.signal:1:do-then-kill",
  "effect.record:2:do-then-kill,ledger.state:3:do-then-throw,ledger.remember:6:do-then-throw,history.seal:1:do-then-throw,approval.told:1:kill",
  "activity.end:5:do-then-throw,approval.open:1:do-then-throw,ledger.checkpoint:5:kill,export.file:5:kill",
  "approval.consume:1:do-then-throw,outcome.settle:1:do-then-throw,ledger.sign:4:do-then-kill,export.rename:1:do-then-throw",
  "run.close:1:do-then-kill,outcome.resolve:1:do-then-throw,contents.read:1:do-then-throw,witness.keep:2:throw,ledger.batch:5:do-then-kill",
  "store.commit:30:do-then-throw,ledger.key:3:kill,key.file:1:do-then-kill",
];

/** The same for what happens around the processes. */
const shortAround: readonly string[] = [
  "+second-server@0+kill-postgres@600+kill-worker@3000",
  "+kill-temporal@1200+cut-postgres@3000+witness-away@500+lock-policies@200",
  "+stop-worker@1500+lock-ledger@2500+kill-server@6000",
];

const parsed = (texts: readonly string[]): readonly Plan[] =>
  texts.map((text) => {
    const plan = parsePlan(text);
    if (plan === undefined) throw new Error(`\`${text}\` is no plan`);
    return plan;
  });

export const shortPlans = (): readonly Plan[] => parsed(short);
export const aroundPlans = (): readonly Plan[] => parsed(shortAround);

type Only = { readonly point?: string | undefined; readonly kind?: string | undefined };
type Hits = ReadonlyMap<FaultPoint, number>;

/**
 * Every point, each hit and kind. Warm, for each hit that the same work comes to in processes that have been at work; and in a world of its own, for
 * the first hit of each point, for all of those that only a beginning or a rotation comes to, and for each disturbance.
 */
export function everyPlan(hits: { readonly fresh: Hits; readonly warm: Hits }, only: Only): readonly Plan[] {
  const points = faultPoints.filter((point) => only.point === undefined || point === only.point);
  const kinds = faultKinds.filter((kind) => only.kind === undefined || kind === only.kind);
  const each = (point: FaultPoint, count: number) =>
    upTo(count).flatMap((hit) => kinds.map((kind) => planOf({ point, hit, kind })));
  const warm = points.flatMap((point) => each(point, hits.warm.get(point) ?? 0));
  const fresh = points.flatMap((point) => {
    // Each log's key is rotated by a process of its own, which comes to its point once.
    if (isIn(point, "rotate")) return each(point, 1);
    // A rotation is once in a world's life: its evidence is verified with the keys of the beginning.
    if (point === "ledger.key") return each(point, hits.fresh.get(point) ?? 1);
    return each(point, hits.warm.has(point) ? 1 : Math.max(1, hits.fresh.get(point) ?? 1));
  });
  const around =
    only.point === undefined && only.kind === undefined
      ? disturbanceNames.map((name) => ({ faults: [], disturbances: [{ name, afterMs: 1_000 }] }))
      : [];
  return [...warm.map((plan) => ({ ...plan, warm: true as const })), ...fresh, ...around];
}

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, place) => place + 1);
}

export type Random = () => number;

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function shuffled<Item>(items: readonly Item[], random: Random): readonly Item[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** The seed's order: each plan has its place whatever the others are, so that one can go on from it another day. */
export function placeOf(plan: Plan, seed: number): string {
  return createHash("sha256")
    .update(`${seed} ${planText(plan)}`)
    .digest("hex");
}

/** One to four faults, and sometimes something around them. */
export function randomPlan(random: Random, hits: Hits, only: Only): Plan {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
  const fault = (): Fault => {
    const point = only.point === undefined ? pick(faultPoints) : (only.point as FaultPoint);
    const kind = only.kind === undefined ? pick(faultKinds) : (only.kind as FaultKind);
    return { point, hit: 1 + Math.floor(random() * Math.max(1, hits.get(point) ?? 1)), kind };
  };
  const { faults } = planOf(...Array.from({ length: 1 + Math.floor(random() * 4) }, fault));
  const names: readonly DisturbanceName[] = random() < 0.4 ? [pick(disturbanceNames)] : [];
  return { faults, disturbances: names.map((name) => ({ name, afterMs: Math.floor(random() * 6_000) })) };
}
