/** States of a step, as the store keeps them. */
export const stepStates = ["waiting", "intended", "done", "failed", "denied", "unknown", "cancelled"] as const;
export type StepState = (typeof stepStates)[number];

export const approvalStates = [
  "pending",
  "approved",
  "denied",
  "expired",
  "cancelled",
  "consumed",
  /** The grant was used, and nobody can tell what came of it until a person looks. */
  "outcome_unknown",
] as const;
export type ApprovalState = (typeof approvalStates)[number];

/** States of a key that signs decisions. */
export const keyStates = ["proposed", "active", "revoked"] as const;
export type KeyState = (typeof keyStates)[number];
