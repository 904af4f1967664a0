import { access, constants, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";

import { SuiteError } from "../examples/agentdojo/suite.ts";
import { CodedError } from "../src/core/errors.ts";
import { benchAgentdojo } from "./agentdojo.ts";
import { benchApprovals } from "./approvals.ts";
import { benchBacktest } from "./backtest.ts";
import { benchEvidence } from "./evidence.ts";
import { benchGate } from "./gate.ts";
import { missed } from "./goals.ts";
import { benchLedger } from "./ledger.ts";
import { benchPolicy } from "./policy.ts";
import { benchReplay } from "./replay.ts";
import { benchSteps } from "./steps.ts";

type Print = (line: string) => void;

const { positionals, values } = argumentsGiven();
const [name = "", file, ...surplus] = positionals;

/** Each bench prints its table, and returns its figures. */
const benches: Readonly<Record<string, (print: Print) => Promise<object>>> = {
  steps: benchSteps,
  policy: benchPolicy,
  gate: benchGate,
  approvals: (print) => benchApprovals(print, file),
  backtest: (print) => benchBacktest(print, file),
  evidence: benchEvidence,
  ledger: (print) => benchLedger(print, file),
  replay: (print) => benchReplay(print, file),
  agentdojo: (print) => benchAgentdojo(print, { file, tools: values.tools, policies: values.policies }),
};

const usage = `usage: npm run bench -- NAME [--json FILE] [--strict]
  NAME: ${Object.keys(benches).join(", ")}
  approvals [COUNT]: requests that wait, 100000 by default
  backtest [COUNT]: decisions to record and decide again, 100000 by default
  ledger [COUNT]: entries of the largest log, 1000000 by default
  replay [COUNT]: runs to record and replay, 60 by default
  agentdojo [FILE --tools META] [--policies PACK]: another suite's traces, what its tools do, another policy pack
  --json FILE: the figures, as one JSON object
  --strict: exit code 1 where a goal is missed; without it a figure is a figure, and the exit code 0
`;
const bench = benches[name];
if (values.help === true) {
  process.stdout.write(usage);
  process.exit(0);
}
if (bench === undefined) refuse(`${name === "" ? "" : `there is no bench \`${name}\`\n`}${usage}`);
const takesOne = ["approvals", "backtest", "ledger", "replay", "agentdojo"].includes(name);
const unknown = takesOne ? surplus : [...positionals.slice(1)];
if (unknown.length > 0) refuse(`\`${unknown[0]}\`: ${name} takes ${takesOne ? "one argument" : "no argument"}\n`);
// Said before anything is measured, and not in the place of the figures.
if (values.json !== undefined)
  await access(dirname(resolve(values.json)), constants.W_OK).catch(() =>
    refuse(`--json ${values.json}: nothing can be written in ${dirname(resolve(values.json ?? ""))}\n`),
  );
const print = (line: string): void => void process.stdout.write(`${line}\n`);
print(
  `machine: ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
const figures = await bench(print).catch((error: unknown) => {
  // What was given to it; anything else is a fault of its own, and shows where.
  if (!(error instanceof SuiteError || error instanceof CodedError)) throw error;
  const hint = error instanceof CodedError && error.hint !== undefined ? `\n  ${error.hint}` : "";
  return refuse(`error: ${error.message}${hint}\n`);
});
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures)}\n`);
if (values.strict === true && missed() > 0) {
  process.stderr.write(`--strict: ${missed()} ${missed() === 1 ? "goal was" : "goals were"} missed\n`);
  process.exit(1);
}
process.exit(0);

function refuse(text: string): never {
  process.stderr.write(text);
  process.exit(2);
}

/** A flag that is none is told with the usage, not as a crash. */
function argumentsGiven() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "string" },
        tools: { type: "string" },
        policies: { type: "string" },
        strict: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nsee npm run bench -- --help\n`);
    process.exit(2);
  }
}
