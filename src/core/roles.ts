export const roles = ["operator", "reviewer", "auditor", "admin"] as const;
/**
 * `operator` registers and runs agents and activates policies, `reviewer` decides on what policies hold back, `auditor` reads
 * records and the ledger, `admin` may do all of it.
 */
export type Role = (typeof roles)[number];
