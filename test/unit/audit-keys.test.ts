import { describe, expect, test } from "vitest";

import { checkKeys } from "../../src/audit/approvals/keys.ts";
import type { LedgerFacts } from "../../src/core/ledger-event.ts";
import type { LedgerExcerpt, RunRecord } from "../../src/core/run-record.ts";
import {
  createSigner,
  formatCheckpoint,
  inclusionProof,
  leafHash,
  rootOf,
  signNote,
} from "../../src/ledger/proof/index.ts";
import { canonicalText } from "../../src/store/canonical.ts";

const seed = new Uint8Array(32).fill(9);
const { verifierKey } = createSigner("localhost/ledger/shop", seed);
const at = (minute: number) => `2026-01-02T03:${String(minute).padStart(2, "0")}:00.000Z`;

type Entry = { readonly kind: string; readonly at: string; readonly facts: LedgerFacts };
const leafOf = (log: string, { kind, at: time, facts }: Entry, index: number): string =>
  canonicalText({ v: 1, kind, log, dedupKey: `${index}`, at: time, facts } as never);

/** The log of people as it would be signed, with a proof for each entry. */
function excerpt(entries: readonly Entry[], { log = "people", signer = "people" } = {}): LedgerExcerpt {
  const leaves = entries.map((entry, index) => leafOf(log, entry, index));
  const hashes = leaves.map((leaf) => leafHash(Buffer.from(leaf)));
  const { verifierKey: key, ...by } = createSigner(`localhost/ledger/${signer}`, seed);
  const text = formatCheckpoint({ origin: by.name, size: leaves.length, root: rootOf(hashes) });
  return {
    checkpoint: signNote(text, [{ verifierKey: key, ...by }]),
    verifierKey: key,
    waiting: 0,
    entries: leaves.map((leaf, index) => ({
      index,
      leaf,
      proof: inclusionProof(hashes, index).map((hash) => Buffer.from(hash).toString("hex")) as never,
    })),
  };
}

const added = (change: LedgerFacts = {}, minute = 1): Entry => ({
  kind: "approver.key.added",
  at: at(minute),
  facts: {
    keyId: "k1",
    principal: "rita",
    publicKey: "spki",
    kind: "webauthn",
    addedBy: "rita",
    confirmedBy: "amir",
    credentialId: "c1",
    rpId: "localhost",
    origin: "http://localhost",
    ...change,
  },
});
const revoked = (minute: number): Entry => ({
  kind: "approver.key.revoked",
  at: at(minute),
  facts: { keyId: "k1", principal: "rita", by: "amir" },
});
const filler: Entry = { kind: "approver.key.proposed", at: at(0), facts: { keyId: "k0" } };
const approved = (change: LedgerFacts = {}): Entry => ({
  kind: "approval.approved",
  at: at(10),
  facts: { approval: "apr_1", reviewer: "rita", keyId: "k1", keysSize: 2, ...change },
});
const consumed: Entry = { kind: "approval.consumed", at: at(20), facts: { approval: "apr_1" } };
const passkey = {
  credentialId: "c1",
  rpId: "localhost",
  origin: "http://localhost",
  authenticatorData: "",
  clientDataJSON: "",
};

type Parts = {
  keys?: LedgerExcerpt | undefined;
  run?: readonly Entry[];
  byFile?: true;
  /** Of who approved it. */
  person?: string;
  edits?: readonly object[];
  /** Of a delegation that rita approved by. */
  delegation?: object;
  resolutions?: readonly object[];
  /** Rita approved before, with a key that was revoked. */
  before?: object;
  quorum?: number;
};

const delegation = {
  id: "dlg_1",
  delegator: "dan",
  person: "dan",
  team: null,
  tool: "pay",
  maxAmount: 100,
  from: at(0),
  until: at(30),
};
const granted = (change: LedgerFacts = {}, minute = 2): Entry => ({
  kind: "delegation.granted",
  at: at(minute),
  facts: {
    delegation: "dlg_1",
    delegator: "dan",
    delegate: "rita",
    tool: "pay",
    maxAmount: 100,
    from: at(0),
    until: at(30),
    by: "dan",
    ...change,
  },
});
const ended = (minute: number): Entry => ({ ...granted({}, minute), kind: "delegation.revoked" });
const without = (entry: Entry, name: string): Entry => {
  const { [name]: _, ...facts } = entry.facts;
  return { ...entry, facts };
};

/** What rita said at 03:10 of an interrupted call, that the gate took over at 03:20. */
const said = { seq: 3, reviewer: "rita", keyId: "k1", publicKey: "spki" };
const reconciled = (facts: LedgerFacts = {}): Entry => ({
  kind: "step.reconciled",
  at: at(20),
  facts: { seq: 3, saidAt: at(10), keysSize: 2, ...facts },
});

/** What somebody made of the call before: `request` is the one that it ended. */
const edit = (change: object = {}) => ({
  request: "apr_0",
  successor: "apr_1",
  reviewer: "rosa",
  editors: ["rosa"],
  persons: ["rosa"],
  keyId: "k1",
  publicKey: "spki",
  ...change,
});
const editedAt = (minute: number, facts: LedgerFacts = {}): Entry => ({
  kind: "approval.edited",
  at: at(minute),
  facts: { approval: "apr_0", ...facts },
});
const goneOn: Entry = { kind: "step.decided", at: at(20), facts: { edit: "apr_0", outcome: "allow" } };

/** A run with one request, that rita approved at 03:10 and that was used at 03:20. */
function checked({
  keys = excerpt([filler, added()]),
  run = [approved(), consumed],
  byFile,
  person,
  edits = [],
  delegation: given,
  resolutions = [],
  before,
  quorum = 1,
}: Parts = {}) {
  const signed = {
    reviewer: "rita",
    decision: "approve",
    keyId: "k1",
    publicKey: "spki",
    statement: "",
    signature: "",
  };
  const of = { at: at(10), person: person ?? "rita", groups: ["g"] };
  const capacity =
    person === undefined && given === undefined
      ? {}
      : { capacity: given === undefined ? of : { ...of, delegation: given } };
  const own = { ...signed, ...capacity, ...(byFile ? {} : { passkey }) };
  const decisions = before === undefined ? [own] : [{ ...own, ...before }, own];
  const requirements = [{ policy: "p", group: "g", quorum, expiresMs: 1, signed: "passkey" }];
  const entries = run.map((entry, index) => ({ index, leaf: leafOf("shop", entry, index) }));
  const approvals = [{ id: "apr_1", requirements, decisions, openedAt: at(0) }];
  const record = { approvals, edits, resolutions, ledger: { entries }, keys };
  return checkKeys(record as unknown as RunRecord, verifierKey);
}

describe("the keys that signed", () => {
  test("are proved to be their reviewers', by two people, before they signed and not revoked by when it was used", () => {
    expect(checked()).toMatchObject({ status: "passed", detail: "1 keys enrolled by two people each" });
    // Revoked later, what was done stands.
    expect(checked({ keys: excerpt([filler, added(), revoked(21)]) }).status).toBe("passed");
    // Enrolled in the same minute by another clock: the size of the log tells the order.
    expect(checked({ keys: excerpt([filler, added({}, 11)]) }).status).toBe("passed");
    const changed = (facts: LedgerFacts) => {
      const run = [approved(), consumed, editedAt(10, facts)];
      const keys = excerpt([filler, added({}, 11)]);
      return checked({ run, keys, edits: [edit({ reviewer: "rita" })] }).problems.join("\n");
    };
    expect(changed({ keysSize: 2 })).not.toMatch(/enrolled after/);
    expect(changed({})).toMatch(/change of `apr_0`: it was enrolled after it had signed/);
    // What is said of a call is an entry later, and counts from when it was said; older entries do not tell.
    const plain = added({ kind: "ed25519" });
    const file = { byFile: true, run: [reconciled()], resolutions: [said] } as const;
    expect(checked({ ...file, keys: excerpt([filler, plain]) }).status).toBe("passed");
    expect(checked({ ...file, keys: excerpt([filler, added({ kind: "ed25519" }, 11)]) }).status).toBe("passed");
    const old = without(without(reconciled(), "saidAt"), "keysSize");
    const between = excerpt([filler, filler, added({ kind: "ed25519" }, 15)]);
    expect(checked({ ...file, run: [old], keys: between }).status).toBe("passed");
  });

  test("may be another one where the first was revoked before, and only then; both count once", () => {
    const first = added({ keyId: "k0", credentialId: "c1" });
    const gone = (minute: number) => ({ ...revoked(minute), facts: { keyId: "k0", principal: "rita", by: "amir" } });
    const fell = approved({ keyId: "k0", keysSize: 1 });
    const anew = (end: readonly Entry[], more: Parts = {}) =>
      checked({
        before: { keyId: "k0" },
        run: [{ ...fell, at: at(5) }, approved({ keysSize: 0 }), consumed],
        keys: excerpt([first, added(), ...end]),
        ...more,
      });
    expect(anew([gone(9)])).toMatchObject({ status: "passed", detail: "2 keys enrolled by two people each" });
    const again = /rita decided on `apr_1` again, while the key of the first decision was not revoked/;
    expect(anew([]).problems.join()).toMatch(again);
    expect(anew([gone(11)]).problems.join()).toMatch(again);
    expect(anew([gone(9)], { quorum: 2 }).problems.join()).toMatch(/used with 1 approvals .* of 2/);
    // The one that fell does not make up for the one that came after it.
    expect(anew([gone(9), revoked(15)]).problems.join()).toMatch(/used with 0 approvals/);
  });

  test("count for whoever gave them the right, as the log of people has it", () => {
    expect(checked({ delegation, keys: excerpt([added(), granted()]) }).status).toBe("passed");
    // Ended later; and granted by another clock, where the size of the log tells the order.
    expect(checked({ delegation, keys: excerpt([added(), granted(), ended(11)]) }).status).toBe("passed");
    expect(checked({ delegation, keys: excerpt([added(), granted({}, 11)]) }).status).toBe("passed");
  });

  test("are told where nobody but the first person enrolled them", () => {
    const { confirmedBy: _, ...alone } = added().facts;
    const bootstrap = { ...added(), facts: { ...alone, bootstrap: "true" } };
    expect(checked({ keys: excerpt([filler, bootstrap]) })).toMatchObject({
      status: "passed",
      detail: "1 keys enrolled, 1 of them without a second person",
    });
  });

  test.each<[string, Parts, RegExp]>([
    ["never enrolled", { keys: excerpt([filler]) }, /enrolled 0 times/],
    ["enrolled twice", { keys: excerpt([added(), added()]) }, /enrolled 2 times/],
    ["of somebody else", { keys: excerpt([filler, added({ principal: "rick" })]) }, /`principal` is `rick`/],
    ["with another public key", { keys: excerpt([filler, added({ publicKey: "other" })]) }, /`publicKey`/],
    ["for another origin", { keys: excerpt([filler, added({ origin: "http://evil" })]) }, /`origin`/],
    ["for another site", { keys: excerpt([filler, added({ rpId: "evil" })]) }, /`rpId`/],
    ["of another credential", { keys: excerpt([filler, added({ credentialId: "c2" })]) }, /`credentialId`/],
    ["as a key file", { keys: excerpt([filler, added({ kind: "ed25519" })]) }, /`kind`/],
    ["as a passkey, that signs as a key file", { byFile: true }, /signs as a key file/],
    ["confirmed by its owner", { keys: excerpt([filler, added({ confirmedBy: "rita" })]) }, /no second person/],
    ["confirmed by who proposed it", { keys: excerpt([filler, added({ addedBy: "amir" })]) }, /no second person/],
    ["after it signed", { keys: excerpt([filler, filler, added({}, 11)]) }, /after it had signed/],
    ["revoked before it signed", { keys: excerpt([filler, added(), revoked(9)]) }, /revoked before it signed/],
    [
      "revoked before it signed, by a clock that is ahead",
      { keys: excerpt([added(), revoked(30)]), run: [approved(), consumed] },
      /revoked before it signed/,
    ],
    ["revoked before the grant was used", { keys: excerpt([filler, added(), revoked(15)]) }, /used with 0 approvals/],
    ["used where a passkey is wanted, by a key file", { byFile: true }, /used with 0 approvals/],
    ["in the log of a team", { keys: excerpt([filler, added()], { log: "shop" }) }, /is of log `shop`/],
    ["under a checkpoint of another log", { keys: excerpt([filler, added()], { signer: "shop" }) }, /log of people/],
    ["by who changed the call", { edits: [edit({ reviewer: "rita", editors: ["rita"] })] }, /used with 0 approvals/],
    ["by another account of them", { person: "rosa", edits: [edit()] }, /used with 0 approvals/],
    [
      "by the person for whom it was changed",
      { edits: [edit({ persons: ["rosa", "rita"] })] },
      /used with 0 approvals/,
    ],
    [
      "after it said what became of a call",
      { run: [reconciled()], resolutions: [said], keys: excerpt([filler, filler, added({}, 15)]) },
      /word on step 3: it was enrolled after it had signed/,
    ],
    [
      "revoked before what it said was taken over",
      { run: [reconciled()], resolutions: [said], keys: excerpt([filler, added(), revoked(15)]) },
      /word on step 3: it was revoked before it signed/,
    ],
    ["for nobody: no delegation", { delegation, keys: excerpt([filler, added()]) }, /it was granted 0 times/],
    [
      "by a delegation that is there twice",
      { delegation, keys: excerpt([added(), granted(), granted()]) },
      /granted 2 times/,
    ],
    [
      "by one to another",
      { delegation, keys: excerpt([added(), granted({ delegate: "rick" })]) },
      /`delegate` is `rick`/,
    ],
    ["by one of another", { delegation, keys: excerpt([added(), granted({ delegator: "dora" })]) }, /`delegator`/],
    ["by one for another tool", { delegation, keys: excerpt([added(), granted({ tool: "look" })]) }, /`tool`/],
    ["by one for a team", { delegation, keys: excerpt([added(), granted({ team: "shop" })]) }, /`team`/],
    ["by one for less", { delegation, keys: excerpt([added(), granted({ maxAmount: 9 })]) }, /`maxAmount`/],
    [
      "by one with a limit that it is said not to have",
      { delegation: { ...delegation, maxAmount: null }, keys: excerpt([added(), granted()]) },
      /`maxAmount`/,
    ],
    ["by one that ended sooner", { delegation, keys: excerpt([added(), granted({ until: at(9) })]) }, /`until`/],
    [
      "by one that was granted after",
      { delegation, keys: excerpt([filler, added(), granted({}, 11)]) },
      /granted after it was used/,
    ],
    [
      "by one that had been ended",
      { delegation, keys: excerpt([added(), granted(), ended(10)]) },
      /ended before it was used/,
    ],
    ["of somebody else, on a change", { edits: [edit()], run: [editedAt(5)] }, /rosa's key on the change of `apr_0`/],
    [
      "revoked before a change was gone by",
      {
        keys: excerpt([filler, added(), revoked(15)]),
        edits: [edit({ reviewer: "rita" })],
        run: [editedAt(10), goneOn],
      },
      /change of `apr_0` was gone by when its key was revoked/,
    ],
  ])("are refuted: %s", (_, parts, problem) => {
    const { status, problems } = checked(parts);
    expect(status).toBe("failed");
    expect(problems.join("\n")).toMatch(problem);
  });

  test("are refuted where an entry is not in the tree that was signed", () => {
    const keys = excerpt([filler, added()]);
    const forged = leafOf("people", added({ principal: "rita", publicKey: "spki" }, 2), 1);
    const entries = keys.entries.map((entry, index) => (index === 1 ? { ...entry, leaf: forged } : entry));
    expect(checked({ keys: { ...keys, entries } })).toMatchObject({ status: "failed" });
  });

  test("are left open where the log has not signed them yet, or the record is from before", () => {
    const keys = excerpt([filler, added()]);
    const { checkpoint: _, ...unsigned } = keys;
    expect(checked({ keys: { ...unsigned, checkpoint: null } }).status).toBe("incomplete");
    expect(checked({ keys: { ...excerpt([filler]), waiting: 1 } }).status).toBe("incomplete");
    const record = { approvals: [{ decisions: [{ keyId: "k1" }] }], ledger: { entries: [] } };
    expect(checkKeys(record as unknown as RunRecord, verifierKey).status).toBe("incomplete");
    expect(checkKeys({ ...record, approvals: [] } as unknown as RunRecord, verifierKey).status).toBe("passed");
  });
});
