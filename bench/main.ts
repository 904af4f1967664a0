import { writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";

import { benchSteps } from "./steps.ts";

/** Each bench prints its table, and returns its figures. */
const benches: Readonly<Record<string, (print: (line: string) => void) => Promise<object>>> = { steps: benchSteps };

const { positionals, values } = parseArgs({ allowPositionals: true, options: { json: { type: "string" } } });
const bench = benches[positionals[0] ?? ""];
if (bench === undefined) {
  process.stderr.write(`usage: npm run bench -- NAME [--json FILE]\n  NAME: ${Object.keys(benches).join(", ")}\n`);
  process.exit(2);
}
const print = (line: string): void => void process.stdout.write(`${line}\n`);
print(
  `machine: ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
const figures = await bench(print);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures)}\n`);
process.exit(0);
