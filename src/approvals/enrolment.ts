import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import { counterOf } from "./webauthn.ts";
import type { Assertion } from "./webauthn.ts";

/** How long a person has between asking to enrol a passkey and having it made. */
const openForMs = 600_000;

/** Remembers the challenge of an enrolment of this principal; those whose time is up are forgotten. */
export async function openEnrolment(tx: Tx, challenge: string, principal: string, now: Date): Promise<void> {
  await tx.query("delete from enrolment_challenge where expires_at <= $1", [now]);
  const expiresAt = new Date(now.getTime() + openForMs);
  await tx.query("insert into enrolment_challenge (challenge, principal, expires_at) values ($1, $2, $3)", [
    challenge,
    principal,
    expiresAt,
  ]);
}

/** Uses a challenge up. Throws `challenge_unknown` where it was not this principal's, was used, or is too old. */
export async function takeEnrolment(tx: Tx, challenge: string, principal: string, now: Date): Promise<void> {
  const { rowCount } = await tx.query(
    "delete from enrolment_challenge where challenge = $1 and principal = $2 and expires_at > $3",
    [challenge, principal, now],
  );
  if (rowCount === 1) return;
  throw new ApprovalError("challenge_unknown", "the enrolment was not begun here, is done, or took too long", {
    hint: "begin again",
  });
}

/**
 * Takes note of a passkey's counter. Throws `passkey_replayed` where it has not grown: then there are two of it, or something is sent
 * again. Passkeys that are synced say 0 each time, which says nothing.
 */
export async function countPasskeyUse(tx: Tx, keyId: string, assertion: Assertion): Promise<void> {
  const counter = counterOf(assertion);
  const { rows } = await tx.query<{ counter: number }>(
    "select counter from passkey_counter where key_id = $1 for update",
    [keyId],
  );
  const before = rows[0]?.counter ?? 0;
  if (counter <= before && (counter > 0 || before > 0)) {
    throw new ApprovalError("passkey_replayed", `passkey's counter is ${counter}, it was ${before} before`, {
      hint: "if it goes on, the passkey was copied: revoke it",
    });
  }
  await tx.query(
    `insert into passkey_counter (key_id, counter) values ($1, $2)
     on conflict (key_id) do update set counter = excluded.counter`,
    [keyId, counter],
  );
}
