import { denialCodes } from "../core/decision.ts";

/** States of a step, as the store keeps them. */
export const effectStates = ["waiting", "intended", "done", "failed", "denied", "unknown", "cancelled"] as const;
export const decisionCodes = denialCodes;
export const approvalStates = [
  "pending",
  "approved",
  "denied",
  "expired",
  "cancelled",
  "consumed",
  "outcome_unknown",
] as const;
export const keyStates = ["proposed", "active", "revoked"] as const;
