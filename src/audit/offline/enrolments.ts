import { peopleLog } from "../../core/ids.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { Placed } from "../ledger/happened-before.ts";
import type { Leaf } from "./in-toto.ts";

/** The log in which reviewers' keys are enrolled. */
export const enrolmentLog = peopleLog;

type Enrolled = {
  readonly principal: string;
  readonly publicKey: string;
  readonly addedAt: string;
  times: number;
  readonly facts: LedgerEntry["facts"];
  revoked?: Placed;
};

/** Keys as the log of enrolments has them, in its order. */
export class Enrolments {
  readonly #keys = new Map<string, Enrolled>();
  readonly #people: readonly Leaf[];
  readonly #whole: boolean;
  readonly size: number;

  /** `whole`: every entry of the log up to `size` is there, so that no revocation can be left out. */
  constructor(leaves: readonly Leaf[], whole: boolean, size: number) {
    this.#whole = whole;
    this.size = size;
    this.#people = leaves;
    for (const leaf of leaves) this.#take(leaf);
  }

  get whole(): boolean {
    return this.#whole;
  }

  /** The log's entries of keys and delegations. */
  get people(): readonly Leaf[] {
    return this.#people;
  }

  key(keyId: string): Enrolled | undefined {
    return this.#keys.get(keyId);
  }

  #take(leaf: Leaf): void {
    const { kind, at, facts } = leaf.entry;
    const keyId = String(facts["keyId"]);
    const known = this.#keys.get(keyId);
    // Entries of delegations have no key.
    if (kind === "approver.key.added" && known === undefined)
      this.#keys.set(keyId, {
        principal: String(facts["principal"]),
        publicKey: String(facts["publicKey"]),
        addedAt: at,
        times: 1,
        facts,
      });
    else if (kind === "approver.key.added" && known !== undefined) known.times += 1;
    if (kind === "approver.key.revoked" && known !== undefined) {
      known.revoked ??= leaf;
    }
  }
}

/** Kinds of entry that `Enrolments` reads. */
export function isEnrolment({ kind }: LedgerEntry): boolean {
  return kind.startsWith("approver.key.") || kind.startsWith("delegation.");
}
