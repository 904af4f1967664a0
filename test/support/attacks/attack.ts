import { generateKeyPairSync } from "node:crypto";

import { keyIdOf, publicKeyOf, signStatement } from "../../../src/approvals/index.ts";
import type { FindingCode, OfflineReport, Trust } from "../../../src/audit/offline/index.ts";
import type { Json } from "../../../src/core/json.ts";
import { createSigner } from "../../../src/ledger/proof/index.ts";
import type { Signer } from "../../../src/ledger/proof/index.ts";
import { canonicalText, sha256 } from "../../../src/store/canonical.ts";
import type { Anything, EvidenceDraft } from "../evidence-draft.ts";

import type { GenuineEvidence } from "../genuine-evidence.ts";

/** How an attacker gets at a bundle, and what finds it. */
export type Attack = {
  readonly attack: string;
  readonly base: "selected" | "whole" | "withheld" | "several" | "chains";
  readonly code: FindingCode;
  readonly verdict?: OfflineReport["verdict"];
  readonly tamper: (draft: EvidenceDraft, world: GenuineEvidence) => unknown;
  readonly trust?: (trust: Trust, world: GenuineEvidence) => Trust;
  /** The checkpoint that the auditor had kept: the genuine log's, or one of before. */
  readonly pinned?: "latest" | "earlier";
};

export const shop = "shop";
export const people = "people";
export const far = "2099-01-01T00:00:00.000Z";
export const long_ago = "2001-01-01T00:00:00.000Z";

/** The operator's own key: who holds it can sign whatever the log is made to be. */
export const insider = (world: GenuineEvidence, log = shop): Signer =>
  createSigner(`localhost/ledger/${log}`, world.operatorSeed);
export const outsider = (log = shop): Signer => createSigner(`localhost/ledger/${log}`, Buffer.alloc(32, 66));

export const kind =
  (name: string, run?: string) =>
  (entry: Anything): boolean =>
    entry.kind === name && (run === undefined || entry.run?.id === run);
export const placeOf = (entries: Anything[], test: (entry: Anything) => boolean): number => {
  const place = entries.findIndex(test);
  if (place < 0) throw new Error("there is nothing to tamper with");
  return place;
};
export const ofStep =
  (name: string, run: string, seq: number) =>
  (entry: Anything): boolean =>
    kind(name, run)(entry) && entry.facts.seq === seq;
export const drop = (entries: Anything[], test: (entry: Anything) => boolean) =>
  entries.splice(placeOf(entries, test), 1);
export const refund = (record: Anything) => record.steps.find((step: Anything) => step.name === "refund");
export const first = (record: Anything) => record.approvals[0];
export const signed = (record: Anything) => first(record).decisions[0];
export const payloadOf = (draft: EvidenceDraft, world: GenuineEvidence): string => {
  const step = draft.json(draft.record(world.runs.approved)).steps.find((one: Anything) => one.name === "lookup_order");
  return `payloads/${step.result}.json`;
};

/** A decision signed anew, with a key of the attacker's, or the reviewer's own that was stolen. */
export function resign(record: Anything, change: Readonly<Record<string, unknown>>, stolen?: string): void {
  const key = stolen ?? generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const statement = canonicalText({ ...(JSON.parse(signed(record).statement) as object), ...change } as Json);
  const publicKey = publicKeyOf(key);
  Object.assign(signed(record), {
    statement,
    signature: signStatement(statement, key),
    publicKey,
    keyId: keyIdOf(publicKey),
  });
}

/** An approval that is told to have been given for somebody else, in the record and in the ledger's entry. */
export function delegated(draft: EvidenceDraft, world: GenuineEvidence): Anything {
  const run = world.runs.approved;
  const path = draft.record(run);
  const delegation = { id: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV", delegator: "eve@reviewer", person: "eve@reviewer" };
  const terms = { team: null, tool: null, maxAmount: null, from: long_ago, until: far };
  draft.edit(path, (record) => (signed(record).capacity.delegation = { ...delegation, ...terms }));
  draft.relog(
    shop,
    (entries) =>
      Object.assign(entries[placeOf(entries, kind("approval.approved", run))].facts, {
        delegation: delegation.id,
        delegator: delegation.delegator,
        delegatorPerson: delegation.person,
        delegatedFrom: long_ago,
        delegatedUntil: far,
      }),
    insider(world),
  );
  const { from, until } = terms;
  const facts = { delegation: delegation.id, delegator: delegation.delegator, from, until, by: delegation.delegator };
  return { ...facts, delegate: signed(draft.json(path)).reviewer };
}

/** Entries added to the log of people by who holds its key. */
export const addPeople = (draft: EvidenceDraft, world: GenuineEvidence, added: readonly Anything[]) =>
  draft.relog(
    people,
    (entries) => {
      for (const [n, entry] of added.entries())
        entries.push({ ...structuredClone(entries[0]), at: long_ago, dedupKey: `forged/${n}`, ...entry });
    },
    insider(world, people),
  );

/** The ledger's entry of that decision, as it would have been. */
export function reenter(entries: Anything[], record: Anything, run: string): void {
  const entry = entries[placeOf(entries, kind("approval.approved", run))];
  const { keyId, signature, statement } = signed(record);
  Object.assign(entry.facts, { keyId, signature, statement: sha256(statement as string) });
}
