import { Command } from "commander";

import { armFaults } from "../faults/index.ts";
import { addAgentCommands } from "./commands/agent.ts";
import { addApprovalCommands } from "./commands/approvals.ts";
import { addAuditCommands } from "./commands/audit.ts";
import { addBudgetCommands } from "./commands/budget.ts";
import { addEraseCommand } from "./commands/erase.ts";
import { addHoldCommands } from "./commands/hold.ts";
import { addRetentionCommands } from "./commands/retention.ts";
import { addFreezeCommands } from "./commands/freeze.ts";
import { addDemoCommand } from "./commands/demo.ts";
import { addDevCommand } from "./commands/dev.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addKeyCommands } from "./commands/keys.ts";
import { addLedgerCommands } from "./commands/ledger.ts";
import { addMigrateCommand } from "./commands/migrate.ts";
import { addNotifyCommands } from "./commands/notify.ts";
import { addPeopleCommands } from "./commands/people.ts";
import { addPolicyCommands } from "./commands/policy.ts";
import { addRunCommands } from "./commands/run.ts";
import { addServerCommand } from "./commands/server.ts";
import { addVerifyCommand } from "./commands/verify.ts";
import type { AddCommands } from "./cli.ts";
import { homeOf } from "./settings.ts";
import pkg from "../../package.json" with { type: "json" };

const groups: readonly AddCommands[] = [
  addAgentCommands,
  addRunCommands,
  addApprovalCommands,
  addNotifyCommands,
  addKeyCommands,
  addPolicyCommands,
  addBudgetCommands,
  addFreezeCommands,
  addLedgerCommands,
  addAuditCommands,
  addVerifyCommand,
  addEraseCommand,
  addHoldCommands,
  addRetentionCommands,
  addDevCommand,
  addDemoCommand,
  addPeopleCommands,
  addDoctorCommand,
  addMigrateCommand,
  addServerCommand,
];

/** Every command. Rooms are loaded by the actions that need them, so that `--help` is quick. */
export function buildProgram(): Command {
  const program = new Command("countersign")
    .description(
      "Runs AI agents as durable workflows, under policy, with signed approvals and a history that can be proved.",
    )
    .version(pkg.version, "--version", "the version of this program")
    .option("--json", "print one JSON document")
    .option("--url <url>", "the server (COUNTERSIGN_URL)")
    .option("--token <token>", "who you are (COUNTERSIGN_TOKEN; visible to other users of this machine)")
    .option("--no-color", "no colours")
    .showSuggestionAfterError(true)
    .showHelpAfterError("(see --help)")
    // Refused wherever nobody said that this may be done: see docs/faults.md.
    .hook("preAction", () => void armFaults(process.env, homeOf(process.env)))
    .addHelpText("after", "\nExit codes: 0 done, 1 refused or refuted, 2 usage or environment.");
  for (const add of groups) add(program);
  return program;
}
