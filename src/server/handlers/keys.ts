import { ApiError } from "../../api/index.ts";
import type { KeyView } from "../../api/index.ts";
import { confirmKey, listKeys, lockKey, proposeKey, revokeReviewerKey, takeEnrolment } from "../../approvals/index.ts";
import type { ReviewerKey } from "../../approvals/index.ts";
import { digestPattern } from "../../core/ids.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { principalExists } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { keyAdded, keyProposed, keyRevoked } from "../ledger-events.ts";
import { beginEnrolment, finishEnrolment } from "../passkeys.ts";

export const keyHandlers: Handlers<
  "listKeys" | "proposeKey" | "beginPasskey" | "proposePasskey" | "confirmKey" | "revokeKey"
> = {
  async listKeys({ query }, { services }) {
    const { cursor, limit, ...filter } = query;
    if (cursor !== undefined && !digestPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const rows = await listKeys(services.pool, { ...filter, before: cursor, limit: limit + 1 });
    const page = rows.slice(0, limit);
    return { keys: page.map(viewOfKey), next: rows.length > limit ? (page.at(-1)?.keyId ?? null) : null };
  },

  async proposeKey({ body: { publicKey, principal } }, { services, caller }) {
    const { id, roles } = caller();
    const owner = principal ?? id;
    if (owner !== id && !roles.includes("admin"))
      throw new ApiError("forbidden", "only an admin proposes a key for somebody else");
    return inTransaction(services.pool, async (tx) => {
      if (!(await principalExists(tx, owner)))
        throw new ApiError("invalid_request", `body \`principal\`: there is no \`${owner}\``);
      const { key, added } = await proposeKey(tx, { principal: owner, publicKey, addedBy: id, now: services.now() });
      if (added) await appendToOutbox(tx, [keyProposed(key)]);
      return { key: viewOfKey(key), added };
    });
  },

  async beginPasskey(_request, { services, caller }) {
    return { ...(await beginEnrolment(services.pool, services.site(), caller(), services.now())) };
  },

  async proposePasskey({ body }, { services, caller }) {
    const { id } = caller();
    const now = services.now();
    // Used up whatever comes of it.
    await takeEnrolment(services.pool, body.challenge, id, now);
    const { publicKey, passkey } = await finishEnrolment(services.site(), body);
    return inTransaction(services.pool, async (tx) => {
      const { key, added } = await proposeKey(tx, { principal: id, publicKey, passkey, addedBy: id, now });
      if (added) await appendToOutbox(tx, [keyProposed(key)]);
      return { key: viewOfKey(key), added };
    });
  },

  async confirmKey({ params }, { services, caller }) {
    const { id } = caller();
    return inTransaction(services.pool, async (tx) => {
      const { key, confirmed } = await confirmKey(tx, params.key, id, services.now());
      if (confirmed) await appendToOutbox(tx, [keyAdded(key)]);
      return { key: viewOfKey(key), confirmed };
    });
  },

  async revokeKey({ params }, { services, caller }) {
    const { id, roles } = caller();
    return inTransaction(services.pool, async (tx) => {
      const key = await lockKey(tx, params.key);
      if (key.principal !== id && !roles.includes("admin"))
        throw new ApiError("forbidden", `key is \`${key.principal}\`'s: its owner or an admin revokes it`);
      const now = services.now();
      const revoked = await revokeReviewerKey(tx, key.keyId, now, id);
      if (revoked) await appendToOutbox(tx, [keyRevoked(key, id, now)]);
      return { key: viewOfKey(revoked ? { ...key, revokedAt: now, revokedBy: id } : key), revoked };
    });
  },
};

function viewOfKey({ passkey, ...key }: ReviewerKey): KeyView {
  return {
    ...key,
    state: key.revokedAt !== null ? "revoked" : key.confirmedAt === null ? "proposed" : "active",
    addedAt: key.addedAt.toISOString(),
    confirmedAt: key.confirmedAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
    passkey: passkey === null ? null : visibleOf(passkey),
  };
}

function visibleOf({ credentialId, rpId, origin, aaguid, transports }: NonNullable<ReviewerKey["passkey"]>) {
  return { credentialId, rpId, origin, aaguid, transports: [...transports] };
}
