import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { FindingCode } from "./findings.ts";

type Grant = {
  readonly terms: string;
  readonly uses: number;
  readonly sum: number | undefined;
  readonly from: string;
  readonly until: string;
  state: "proposed" | "active" | "revoked";
  n: number;
  total: number;
};

type Say = (code: FindingCode, index: number, message: string) => void;

/**
 * What must hold between the entries of standing grants, in the order of a log: proposed, then approved, then used, each use the next and
 * within what was agreed, and none after it was revoked. Of a part of a log, uses may be missing in between.
 */
export class StandingRules {
  readonly #grants = new Map<string, Grant>();
  readonly #whole: boolean;
  readonly #say: Say;

  constructor(whole: boolean, say: Say) {
    this.#whole = whole;
    this.#say = say;
  }

  take(index: number, entry: LedgerEntry): void {
    const { kind, facts } = entry;
    if (!kind.startsWith("standing.")) return;
    const id = String(facts["grant"]);
    const grant = this.#grants.get(id);
    if (kind === "standing.proposed") {
      if (grant !== undefined) this.#say("approval_out_of_order", index, `\`${id}\` was proposed twice`);
      else this.#grants.set(id, grantOf(entry));
      return;
    }
    if (grant === undefined || (grant.terms !== facts["terms"] && kind !== "standing.revoked"))
      return this.#say("approval_out_of_order", index, `\`${kind}\` of \`${id}\`, which was not proposed so`);
    if (kind === "standing.used") this.#use(index, entry, id, grant);
    else if (kind === "standing.revoked") grant.state = "revoked";
    else if (grant.state !== "proposed")
      this.#say("approval_out_of_order", index, `\`${id}\` was approved when it was ${grant.state}`);
    else if (facts["state"] === "active") grant.state = "active";
  }

  #use(index: number, { at, facts }: LedgerEntry, id: string, grant: Grant): void {
    const [n, amount, total] = [facts["n"], facts["amount"], facts["total"]].map(Number) as [number, number, number];
    if (grant.state !== "active")
      this.#say("approval_out_of_order", index, `\`${id}\` was used when it was ${grant.state}`);
    const exceeded = (message: string): void => this.#say("standing_grant_exceeded", index, `\`${id}\` ${message}`);
    const isNext = n === grant.n + 1 && total === grant.total + amount;
    const mayBeLater = n > grant.n + 1 && total >= grant.total + amount;
    if (!(amount >= 0 && (isNext || (!this.#whole && mayBeLater))))
      exceeded(`was used as number ${n} with ${amount}, to ${total}; before that ${grant.n}, to ${grant.total}`);
    if (!(n <= grant.uses)) exceeded(`was used ${n} times, of ${grant.uses}`);
    if (grant.sum !== undefined && !(total <= grant.sum)) exceeded(`came to ${total}, of ${grant.sum}`);
    if (!(grant.from <= at && at < grant.until)) exceeded(`was used at ${at}`);
    grant.n = Math.max(grant.n, n);
    grant.total = Math.max(grant.total, total);
  }
}

function grantOf({ facts }: LedgerEntry): Grant {
  const { terms, uses, sum, from, until } = facts;
  return {
    terms: String(terms),
    uses: Number(uses),
    sum: sum === undefined ? undefined : Number(sum),
    from: String(from),
    until: String(until),
    state: "proposed",
    n: 0,
    total: 0,
  };
}
