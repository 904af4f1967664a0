import fc from "fast-check";

/** Accounts: persons and groups. `operator` asks for the runs, `mallory` is in no group that is asked. */
export const accounts: Readonly<Record<string, { readonly groups: readonly string[]; readonly person?: string }>> = {
  grace: { groups: ["treasury"] },
  "grace.admin": { groups: ["treasury"], person: "grace" },
  heidi: { groups: ["treasury"] },
  ivan: { groups: ["treasury"] },
  operator: { groups: ["treasury"] },
  mallory: { groups: ["others"] },
};
export const who = Object.keys(accounts);
export const personOf = (id: string): string => accounts[id]?.person ?? id;

export type Says = "approve" | "deny";
export type Act =
  | { readonly kind: "decide"; readonly by: string; readonly says: Says }
  /** Two at once say yes. */
  | { readonly kind: "together"; readonly by: readonly [string, string] }
  /** In another's name, with a key of one's own. */
  | { readonly kind: "impersonate"; readonly who: string }
  /** Whatever anybody can send to a workflow. */
  | { readonly kind: "signal"; readonly what: "own" | "other" | "unknown" | "claim" | "junk" | "nothing" | "long" }
  | { readonly kind: "signal named" | "update"; readonly name: string }
  /** Rows written past the code: a yes that nobody signed, and the state that goes with it. */
  | { readonly kind: "forge" }
  | { readonly kind: "cancel" };

const decide = (deny: number): fc.Arbitrary<Act> =>
  fc.record({
    kind: fc.constant("decide" as const),
    by: fc.constantFrom(...who),
    says: fc.integer({ min: 0, max: deny }).map((n): Says => (n === 0 ? "deny" : "approve")),
  });
const signal: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("signal" as const),
      what: fc.constantFrom("own" as const, "own", "other", "unknown", "claim", "junk", "nothing", "long"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("signal named" as const, "update" as const),
      name: fc.constantFrom("approved", "grant", "approve", "approvalDecided"),
    }),
  },
);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 16, arbitrary: decide(9) },
  { weight: 16, arbitrary: signal },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("together" as const),
      by: fc.constantFrom<[string, string][]>(["grace", "heidi"], ["heidi", "ivan"], ["grace", "grace.admin"]),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("impersonate" as const), who: fc.constantFrom(...who) }) },
  { weight: 3, arbitrary: fc.constantFrom<Act[]>({ kind: "forge" }, { kind: "forge" }, { kind: "cancel" }) },
);

export type Plan = {
  readonly quorum: 1 | 2;
  readonly acts: readonly Act[];
  /** What is done after the request's time is up; absent: it is not. */
  readonly late?: readonly Act[] | undefined;
  /** How it ends where nobody has ended it. */
  readonly end: "deny" | "cancel";
};
export const plan: fc.Arbitrary<Plan> = fc.record({
  quorum: fc.constantFrom(1 as const, 2 as const, 2 as const),
  acts: fc.array(act, { minLength: 2, maxLength: 9 }),
  late: fc.option(fc.array(fc.oneof(decide(9), signal), { maxLength: 4 }), { nil: undefined, freq: 5 }),
  end: fc.constantFrom("deny" as const, "cancel" as const),
});

/** What ought to become of a request, whenever the gate looks. */
export class Model {
  state: "pending" | "approved" | "denied" | "forged" = "pending";
  cancelled = false;
  late = false;
  /** The gate was made to look before it was late: what was approved by then may have been used. */
  woken = false;
  /** In whose name a row is forged. */
  impostor: string | undefined;
  votes: readonly { readonly by: string; readonly says: Says }[] = [];
  readonly quorum: number;

  constructor(quorum: number) {
    this.quorum = quorum;
  }

  /** The codes and states with which a decision may be answered. */
  decide(by: string, says: Says): readonly string[] {
    if (this.impostor === by) return ["approval_fallen"];
    const earlier = this.votes.find((vote) => vote.by === by);
    if (earlier !== undefined && earlier.says !== says) return ["decided_before"];
    if (earlier !== undefined) return ["again"];
    const open = this.late ? ["request_expired", "request_not_pending"] : [];
    if (this.state !== "pending" || this.late) return [...open, "request_not_pending"];
    if (by === "operator") return ["self_approval"];
    if (this.votes.some((vote) => personOf(vote.by) === personOf(by))) return ["decided_before"];
    if (by === "mallory") return ["not_in_group"];
    this.votes = [...this.votes, { by, says }];
    if (says === "deny") this.state = "denied";
    else if (this.votes.length >= this.quorum) this.state = "approved";
    return [this.state];
  }

  /** Two at once, as if in the order that was the case: what they ought to be answered, sorted. */
  together([one, other]: readonly [string, string], got: readonly string[]): string {
    const before = { state: this.state, votes: this.votes };
    const inTurn = (...by: readonly string[]) => by.map((id) => this.decide(id, "approve")[0] as string);
    const answers = inTurn(one, other);
    if (answers.join() === got.join()) return answers.toSorted().join(" ");
    Object.assign(this, before);
    return inTurn(other, one).toSorted().join(" ");
  }

  /** The states in which the request may end; `consumed` is the only one with an effect. */
  ends(): readonly string[] {
    const used = this.state === "approved" ? ["consumed"] : [];
    const stopped = this.state === "denied" ? ["denied"] : [];
    if (this.cancelled) return ["cancelled", ...(this.late ? ["expired"] : []), ...used, ...stopped];
    if (this.state === "forged") return ["cancelled", "approved", ...(this.late ? ["expired"] : [])];
    if (this.late && this.state !== "denied") return ["expired", ...(this.woken ? used : [])];
    return [...used, ...stopped];
  }
}
