import { approvalAttacks } from "./approvals.ts";
import { cosignedAttacks } from "./cosigned.ts";
import { chainAttacks } from "./chains.ts";
import { costAttacks } from "./costs.ts";
import { fileAttacks } from "./files.ts";
import { insiderAttacks } from "./insider.ts";
import { logAttacks } from "./log.ts";
import { otherAttacks } from "./other.ts";
import { recordAttacks } from "./record.ts";
import { severalAttacks } from "./several.ts";
import { standingAttacks } from "./standing.ts";
import { unansweredAttacks } from "./unanswered.ts";
import type { Attack } from "./attack.ts";
export type { Attack } from "./attack.ts";

export const attacks: readonly (readonly [string, readonly Attack[]])[] = [
  ["Files and their form", fileAttacks],
  ["The log: leaves, proofs, checkpoints, forks", logAttacks],
  ["By who holds the log's key: everything is hashed and signed again", insiderAttacks],
  ["By who holds the log's key: calls that had to wait for witnesses", cosignedAttacks],
  ["The record", recordAttacks],
  ["Approvals", approvalAttacks],
  ["Standing grants", standingAttacks],
  ["Costs and what runs were allowed to spend", costAttacks],
  ["Calls that were given up for want of room", unansweredAttacks],
  ["A run that went on over several executions, and histories that are told to be lost", chainAttacks],
  ["Several teams; runs that were edited, delegated, frozen, cancelled, failed, erased", severalAttacks],
  ["Histories, statements, the page, and what is required", otherAttacks],
];
