import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  addReviewerKey,
  cancelRequestsOf,
  checkGrant,
  consumeGrant,
  decideRequest,
  delegate,
  expireDue,
  keyIdOf,
  publicKeyOf,
  requestById,
  revokeReviewerKey,
  takeDue,
  undelegate,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import { inTransaction } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { createInbox } from "../support/inbox.ts";
import type { Inbox, Signer } from "../support/inbox.ts";

/** Accounts: the groups that they begin in, and the person behind them where it is not the account. `dan` stands in for `rosa`. */
const accounts: Readonly<Record<string, { readonly groups: readonly string[]; readonly person?: string }>> = {
  rita: { groups: ["treasury"] },
  rick: { groups: ["treasury"] },
  "rick.admin": { groups: ["treasury", "legal"], person: "rick" },
  rosa: { groups: ["treasury"] },
  dan: { groups: [] },
  lena: { groups: ["legal", "treasury"] },
  mia: { groups: ["managers"] },
  olga: { groups: ["treasury", "legal"] },
  xena: { groups: ["others"] },
};
const who = Object.keys(accounts);
const personOf = (id: string): string => accounts[id]?.person ?? id;

/** `APPROVAL_SEQUENCES=5000` for more. */
const sequences = Number(process.env["APPROVAL_SEQUENCES"] ?? 1_000);

/** All times are milliseconds from the opening. */
const expiresMs = 100;
const escalatesAt = 40;
const mandate = { from: 10, until: 60 };

const term = (group: string, quorum: number, more: Partial<ApprovalRequirement> = {}): ApprovalRequirement => ({
  policy: "p",
  group,
  quorum,
  expiresMs,
  ...more,
});
const escalate = { afterMs: escalatesAt, to: ["managers"] };
const askedFor: readonly (readonly ApprovalRequirement[])[] = [
  [term("treasury", 1)],
  [term("treasury", 2, { escalate, remindMs: 15 })],
  [term("treasury", 3, { escalate })],
  [term("treasury", 1), term("legal", 1)],
  [term("treasury", 1, { distinct: true }), term("legal", 1, { escalate })],
  [term("treasury", 2, { distinct: true, orGroups: ["legal"] }), term("legal", 1)],
];

type Command =
  | { readonly kind: "decide"; readonly by: string; readonly says: "approve" | "deny" }
  /** A wake-up, late, early, repeated or made up: all that it does is to have the gate look. */
  | { readonly kind: "signal" }
  | { readonly kind: "pass"; readonly ms: number }
  /** `rekey`: another key, once, in the place of the first, which is revoked if it was not. */
  | { readonly kind: "leave" | "join" | "revoke" | "rekey"; readonly of: string }
  | { readonly kind: "undelegate" | "cancel" | "sweep" };

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("decide" as const),
      by: fc.constantFrom(...who),
      says: fc.integer({ min: 0, max: 11 }).map((n) => (n === 0 ? ("deny" as const) : ("approve" as const))),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: "signal" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(0, 1, 9, 10, 30, 39, 50, 99) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("leave" as const, "join" as const, "revoke" as const, "rekey" as const),
      of: fc.constantFrom(...who),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("undelegate" as const, "cancel" as const, "sweep" as const) }),
  },
);

/** What chance alone hardly ever brings together: a yes, another key, and a yes again. */
const anew = fc.constantFrom("rita", "rick", "dan").map((by): readonly Command[] => [
  { kind: "decide", by, says: "approve" },
  { kind: "rekey", of: by },
  { kind: "decide", by, says: "approve" },
]);
const commandsOf = fc
  .array(
    fc.oneof(
      { weight: 15, arbitrary: command.map((one): readonly Command[] => [one]) },
      { weight: 1, arbitrary: anew },
    ),
    { minLength: 3, maxLength: 14 },
  )
  .map((parts) => parts.flat());

type ModelVote = {
  readonly by: string;
  /** The number of the key that it is signed with. */
  readonly key: number;
  readonly says: "approve" | "deny";
  readonly at: number;
  readonly groups: readonly string[];
  readonly instead: string | undefined;
};

/** What ought to happen, said as plainly as can be; quorums by trying everything. */
class Model {
  state = "pending";
  now = 0;
  votes: readonly ModelVote[] = [];
  /** Which key somebody signs with, and whose last one is revoked. */
  readonly keys = new Map(who.map((id) => [id, 0]));
  readonly groups = new Map(who.map((id) => [id, new Set(accounts[id]?.groups)]));
  readonly revokedKeys = new Set<string>();
  mandateEnded = Infinity;
  readonly #wants: readonly ApprovalRequirement[];

  constructor(wants: readonly ApprovalRequirement[]) {
    this.#wants = wants;
  }

  decide(by: string, says: "approve" | "deny"): string {
    if (this.revokedKeys.has(by)) return "key_revoked";
    const standing = this.votes.filter((vote) => vote.says === "deny" || !this.#isRevoked(vote));
    const before = standing.find((vote) => vote.by === by);
    if (before !== undefined) return before.says === says ? this.state : "decided_before";
    if (this.state !== "pending") return "request_not_pending";
    if (this.now >= expiresMs) return "request_expired";
    if (["olga", "annie"].includes(personOf(by))) return "self_approval";
    if (standing.some((vote) => personOf(vote.by) === personOf(by))) return "decided_before";
    const asked = this.#wants.flatMap((want) => this.#groupsOf(want, this.now));
    const inGroups = (id: string) => [...(this.groups.get(id) ?? [])].filter((group) => asked.includes(group));
    const standsIn = by === "dan" && this.#mandateHolds(this.now) && inGroups("rosa").length > 0;
    const instead = inGroups(by).length === 0 && standsIn ? "rosa" : undefined;
    if (inGroups(by).length === 0 && instead === undefined) return "not_in_group";
    if (instead !== undefined && standing.some((vote) => vote.by === "rosa")) return "decided_before";
    const key = this.keys.get(by) ?? 0;
    this.votes = [...this.votes, { by, key, says, at: this.now, groups: inGroups(instead ?? by), instead }];
    if (says === "deny") this.state = "denied";
    else if (this.isMet()) this.state = "approved";
    return this.state;
  }

  /** What the gate says, and does. */
  look(): string {
    if (this.state === "consumed") return "invalid";
    if (this.state === "pending" || this.state === "approved") {
      if (this.now >= expiresMs) return "expired";
      if (this.state === "pending") return "pending";
      if (!this.isMet()) return "invalid";
      this.state = "consumed";
      return "granted";
    }
    return this.state;
  }

  isMet(): boolean {
    const votes = this.votes.filter((vote) => this.#counts(vote));
    // Rosa and whoever decided for her are one.
    const one = new Map(votes.map((vote) => [vote.instead ?? personOf(vote.by), [] as ModelVote[]]));
    for (const vote of votes) one.get(vote.instead ?? personOf(vote.by))?.push(vote);
    const people = [...one.values()];
    const fits = (want: ApprovalRequirement) => (cast: readonly ModelVote[]) =>
      cast.some((vote) => this.#groupsNow(vote).some((group) => this.#groupsOf(want, vote.at).includes(group)));
    if (!this.#wants.some((want) => want.distinct))
      return this.#wants.every((want) => people.filter(fits(want)).length >= want.quorum);
    const tryAll = (index: number, places: readonly number[]): boolean => {
      if (places.every((left) => left <= 0)) return true;
      const cast = people[index];
      if (cast === undefined) return false;
      const tries = this.#wants.map(
        (want, place) =>
          fits(want)(cast) &&
          tryAll(
            index + 1,
            places.map((left, at) => (at === place ? left - 1 : left)),
          ),
      );
      return tries.some(Boolean) || tryAll(index + 1, places);
    };
    return tryAll(
      0,
      this.#wants.map((want) => want.quorum),
    );
  }

  #counts(vote: ModelVote): boolean {
    const { says, at, instead } = vote;
    return says === "approve" && !this.#isRevoked(vote) && (instead === undefined || this.#mandateHolds(at));
  }

  #isRevoked({ by, key }: ModelVote): boolean {
    return key < (this.keys.get(by) ?? 0) || this.revokedKeys.has(by);
  }

  #groupsNow({ by, groups, instead }: ModelVote): readonly string[] {
    return groups.filter((group) => this.groups.get(instead ?? by)?.has(group));
  }

  #groupsOf({ group, orGroups = [], escalate: to }: ApprovalRequirement, at: number): readonly string[] {
    return [group, ...orGroups, ...(to !== undefined && at >= escalatesAt ? to.to : [])];
  }

  #mandateHolds(at: number): boolean {
    return at >= mandate.from && at < mandate.until && at < this.mandateEnded;
  }
}

let inbox: Inbox;
/** A second key for each. */
const spares = new Map(
  who.map((id): [string, Signer] => {
    const privateKey = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    return [id, { privateKey, keyId: keyIdOf(publicKeyOf(privateKey)) }];
  }),
);

beforeAll(async () => {
  inbox = await createInbox();
  for (const [id, { groups, person }] of Object.entries(accounts)) await inbox.enrol(id, groups, person);
});
afterAll(() => inbox.database.close());

test("any sequence of decisions, wake-ups, lapses, changes of groups and keys goes as the model says, and nothing acts twice", async () => {
  const seen: Record<string, number> = {};
  await inTransaction(inbox.pool, async (tx) => {
    const requests: ApprovalRequest[] = [];
    for (const requirements of askedFor) requests.push(await inbox.openIn(tx, { requirements, expiresMs }));
    const given = { delegator: "rosa", delegate: "dan", team: null, tool: null, maxAmount: null, reason: "" };
    const span = { from: inbox.at(mandate.from), until: inbox.at(mandate.until) };
    const { id: delegation } = await delegate(tx, { ...given, ...span }, "rosa", inbox.opened);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...requests), commandsOf, async (request, commands) => {
        // Each run leaves nothing behind.
        await tx.query("savepoint run");
        try {
          await play(tx, request, delegation, commands, seen);
        } finally {
          await tx.query("rollback to savepoint run");
        }
      }),
      { numRuns: sequences, seed: 20_260_102 },
    );
  });
  // Else the property would hold of nothing.
  for (const end of [
    "look granted",
    "look invalid",
    "look pending",
    "look expired",
    "look denied",
    "decide approved",
    "decide denied",
    "decide pending",
    "decide decided_before",
    "decide self_approval",
    "decide not_in_group",
    "decide key_revoked",
    "decide request_not_pending",
    "decide request_expired",
    "decide for another",
    "approved, and not any more",
    "anew approved",
    "anew pending",
  ])
    expect(seen[end] ?? 0, end).toBeGreaterThan(0);
}, 300_000);

function keyInUse(model: Model, id: string): Pick<Signer, "keyId" | "privateKey"> {
  const spare = spares.get(id) as Signer;
  return model.keys.get(id) === 1 ? spare : { keyId: inbox.keyOf(id), privateKey: "" };
}

async function play(
  tx: Tx,
  request: ApprovalRequest,
  delegation: string,
  commands: readonly Command[],
  seen: Record<string, number>,
): Promise<void> {
  const note = (what: string) => (seen[what] = (seen[what] ?? 0) + 1);
  const model = new Model(request.requirements);
  const now = () => inbox.at(model.now);
  const did: string[] = [];
  const should: string[] = [];
  let used = 0;
  for (const step of commands) {
    switch (step.kind) {
      case "decide": {
        const expected = model.decide(step.by, step.says);
        if (model.votes.some(({ by, key }) => by === step.by && key === 0) && model.keys.get(step.by) === 1)
          note(`anew ${expected}`);
        const signer = model.keys.get(step.by) === 1 ? spares.get(step.by) : undefined;
        const decided = await decideRequest(tx, inbox.sign(request, step.by, step.says, signer), step.by, now()).then(
          ({ state, capacity }) => (capacity?.mandate === undefined ? state : (note("decide for another"), state)),
          (error: unknown) => codeOf(error),
        );
        did.push(String(decided));
        should.push(expected);
        note(`decide ${expected}`);
        break;
      }
      case "signal": {
        if (model.state === "approved" && !model.isMet()) note("approved, and not any more");
        const { id, action, run, seq } = request;
        const { status } = await checkGrant(tx, { request: id, actionDigest: action, run, seq, now: now() });
        if (status === "granted" && (await consumeGrant(tx, id, now()))) used += 1;
        did.push(status);
        should.push(model.look());
        note(`look ${status}`);
        break;
      }
      case "pass":
        model.now += step.ms;
        break;
      case "leave":
      case "join": {
        const groups = model.groups.get(step.of) ?? new Set();
        groups[step.kind === "leave" ? "delete" : "add"]("treasury");
        await tx.query("update principal set groups = $2 where id = $1", [step.of, [...groups]]);
        break;
      }
      case "revoke":
        model.revokedKeys.add(step.of);
        await revokeReviewerKey(tx, keyInUse(model, step.of).keyId, now());
        break;
      case "rekey": {
        if (model.keys.get(step.of) === 1) break;
        if (!model.revokedKeys.delete(step.of)) await revokeReviewerKey(tx, inbox.keyOf(step.of), now());
        model.keys.set(step.of, 1);
        const { privateKey } = keyInUse(model, step.of);
        const key = { principal: step.of, publicKey: publicKeyOf(privateKey), addedBy: "admin", now: now() };
        await addReviewerKey(tx, key);
        break;
      }
      case "undelegate":
        model.mandateEnded = Math.min(model.mandateEnded, model.now);
        await undelegate(tx, delegation, "rosa", now());
        break;
      case "cancel":
        if (model.state === "pending" || model.state === "approved") model.state = "cancelled";
        await cancelRequestsOf(tx, request.run);
        break;
      case "sweep":
        if ((model.state === "pending" || model.state === "approved") && model.now >= expiresMs)
          model.state = "expired";
        await expireDue(tx, now(), 10);
        await takeDue(tx, now(), { limit: 10 });
        break;
    }
  }
  expect(did).toEqual(should);
  expect((await requestById(tx, request.id))?.state).toBe(model.state);
  expect(used).toBe(model.state === "consumed" ? 1 : 0);
}
