import { standingApprovals, standingById, standingUsesOf } from "../approvals/index.ts";
import type { RunId } from "../core/ids.ts";
import type { StandingGrantRecord } from "../core/standing-grant.ts";
import type { Tx } from "../store/index.ts";

/** The standing grants that a run used, as evidence: in the order of their ids. */
export async function standingRecords(tx: Tx, run: RunId): Promise<readonly StandingGrantRecord[]> {
  const uses = await standingUsesOf(tx, run);
  const ids = [...new Set(uses.map(({ grant }) => grant))].toSorted();
  return Promise.all(
    ids.map(async (id): Promise<StandingGrantRecord> => {
      const [{ terms, expiresAt }, approvals] = [await standingById(tx, id), await standingApprovals(tx, id)];
      return {
        id,
        terms,
        expiresAt: expiresAt.toISOString(),
        approvals: approvals.map(({ reviewer, person, groups, at, statement, keyId, signature, key }) => {
          const publicKey = key.publicKey;
          return { reviewer, person, groups, at: at.toISOString(), statement, keyId, signature, publicKey };
        }),
        uses: uses
          .filter(({ grant }) => grant === id)
          .map(({ seq, n, amount, total, barred, at }) => ({ seq, n, amount, total, barred, at: at.toISOString() })),
      };
    }),
  );
}
