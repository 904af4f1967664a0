import { denialCodes } from "../core/decision.ts";

/** States of a step, as the store keeps them. */
export const effectStates = ["waiting", "intended", "done", "failed", "denied", "unknown", "cancelled"] as const;
export const decisionCodes = denialCodes;
export const keyStates = ["proposed", "active", "revoked"] as const;
export const approvalStates = ["pending", "approved", "denied", "expired", "cancelled", "consumed"] as const;
