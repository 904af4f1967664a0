import { readFileSync } from "node:fs";
import { join } from "node:path";

import { arm, FaultError } from "./fault-point.ts";
import { faultKinds, faultPoints, parseFaults } from "./points.ts";

/** The file that marks a data directory as one whose processes may be made to fail. Nothing but a person or a test makes it. */
export const faultMark = "FOR-FAULTS-ONLY";
export const faultMarkText = "processes of this data directory may be made to fail\n";

/**
 * Arms the fault points as COUNTERSIGN_FAULT says (`point:hit:kind`, several with commas, `none` to count hits only); COUNTERSIGN_FAULT_LOG is a
 * file for the hits. True where anything was armed. Throws `fault_refused` in production, where the data directory is not marked for it, and for
 * what is no fault: a process that was meant to fail must not run as if nothing had been asked of it.
 */
export function armFaults(env: NodeJS.ProcessEnv, home: string): boolean {
  const asked = env["COUNTERSIGN_FAULT"];
  if (asked === undefined || asked === "") return false;
  const production = ["NODE_ENV", "COUNTERSIGN_ENVIRONMENT"].find((name) => /^prod/i.test(env[name] ?? ""));
  if (production !== undefined) throw refused(`it is set together with ${production}=${env[production]}`);
  if (!isMarked(home)) throw refused(`\`${home}\` is not marked as a data directory for faults`);
  const faults = parseFaults(asked);
  if (faults === undefined) {
    throw new FaultError("fault_refused", `COUNTERSIGN_FAULT: \`${asked}\` is no \`point:hit:kind\``, {
      hint: `points: ${faultPoints.join(", ")}; kinds: ${faultKinds.join(", ")}; see docs/faults.md`,
    });
  }
  arm(faults, env["COUNTERSIGN_FAULT_LOG"] || undefined);
  return true;
}

function isMarked(home: string): boolean {
  try {
    return readFileSync(join(home, faultMark), "utf8") === faultMarkText;
  } catch {
    return false;
  }
}

function refused(why: string): FaultError {
  return new FaultError("fault_refused", `COUNTERSIGN_FAULT would make this process fail on purpose, and ${why}`, {
    hint: "unset COUNTERSIGN_FAULT; docs/faults.md tells what it is for",
  });
}
