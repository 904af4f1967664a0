import { ApiError } from "../../api/index.ts";
import type { ResponseOf } from "../../api/index.ts";
import { delegate, delegationIdPattern, listDelegations, lockDelegation, undelegate } from "../../approvals/index.ts";
import type { Delegation } from "../../approvals/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { targetExists } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { delegationChanged } from "../ledger-events.ts";

type View = ResponseOf<"listDelegations">["delegations"][number];

export const delegationHandlers: Handlers<"delegate" | "listDelegations" | "undelegate"> = {
  async delegate({ body }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    const { from, until, team = null, tool = null, maxAmount = null, ...rest } = body;
    const given = {
      ...rest,
      delegator: by,
      team,
      tool,
      maxAmount,
      from: new Date(from ?? now),
      until: new Date(until),
    };
    const delegation = await inTransaction(services.pool, async (tx) => {
      const target = { ...(team === null ? {} : { team }), ...(tool === null ? {} : { tool }) };
      if (!(await targetExists(tx, target))) {
        throw new ApiError("agent_not_found", "no release has such a team or tool", {
          hint: "see `countersign agent list`",
        });
      }
      const made = await delegate(tx, given, by, now);
      await appendToOutbox(tx, [delegationChanged("delegation.granted", made, by, now)]);
      return made;
    });
    return { delegation: viewOf(delegation, now), changed: true };
  },

  async listDelegations({ query: { cursor, limit, principal, all } }, { services }) {
    if (cursor !== undefined && !delegationIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const now = services.now();
    const openAt = all === "true" ? undefined : now;
    const rows = await listDelegations(services.pool, { principal, openAt, before: cursor, limit: limit + 1 });
    const page = rows.slice(0, limit);
    return {
      delegations: page.map((one) => viewOf(one, now)),
      next: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
    };
  },

  async undelegate({ params: { delegation: id } }, { services, caller }) {
    const { id: by, roles } = caller();
    return inTransaction(services.pool, async (tx) => {
      const { delegator, delegate: to } = await lockDelegation(tx, id);
      const now = services.now();
      if (by !== delegator && by !== to && !roles.includes("admin"))
        throw new ApiError("forbidden", "the delegation is between other people", {
          hint: "ask one of them, or an admin",
        });
      const { delegation, changed } = await undelegate(tx, id, by, now);
      if (changed) await appendToOutbox(tx, [delegationChanged("delegation.revoked", delegation, by, now)]);
      return { delegation: viewOf(delegation, now), changed };
    });
  },
};

function viewOf(one: Delegation, now: Date): View {
  const { from, until, at, revokedAt, ...rest } = one;
  return {
    ...rest,
    from: from.toISOString(),
    until: until.toISOString(),
    at: at.toISOString(),
    revokedAt: revokedAt?.toISOString() ?? null,
    state: revokedAt !== null ? "revoked" : now >= until ? "ended" : now < from ? "ahead" : "open",
  };
}
