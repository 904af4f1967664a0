import { assertionOf, standingApprovals, standingById, standingUsesOf } from "../approvals/index.ts";
import type { StandingApproval } from "../approvals/index.ts";
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
        approvals: approvals.map(approvalRecord),
        uses: uses
          .filter(({ grant }) => grant === id)
          .map(({ seq, n, amount, total, barred, at }) => ({ seq, n, amount, total, barred, at: at.toISOString() })),
      };
    }),
  );
}

function approvalRecord(approval: StandingApproval): StandingGrantRecord["approvals"][number] {
  const { reviewer, person, groups, statement, keyId, signature, key, mandate } = approval;
  const { publicKey, passkey } = key;
  const signed = { reviewer, person, groups, at: approval.at.toISOString(), statement, keyId, signature, publicKey };
  const assertion = assertionOf(approval);
  return {
    ...signed,
    ...(assertion === null
      ? {}
      : { passkey: { ...assertion, rpId: passkey?.rpId ?? "", origin: passkey?.origin ?? "" } }),
    ...(mandate === null ? {} : { delegation: delegationRecord(mandate) }),
  };
}

function delegationRecord(mandate: NonNullable<StandingApproval["mandate"]>) {
  const { id, delegator, person, team, tool, maxAmount, from, until } = mandate;
  return { id, delegator, person, team, tool, maxAmount, from: from.toISOString(), until: until.toISOString() };
}
