/** `npm run verify -- DIR --trust trust.json [--pinned CHECKPOINT …] [--json]`: the verifier alone, without the rest of the program. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { codeOf } from "../../core/errors.ts";
import { exitCodeOf, reportLines } from "./print.ts";
import { parseTrust } from "./trust.ts";
import { verifyEvidence } from "./verify.ts";

const usage = "usage: npm run verify -- DIR --trust trust.json [--pinned CHECKPOINT]... [--json]";

process.exitCode = run(process.argv.slice(2));

function run(argv: readonly string[]): number {
  try {
    const { positionals, values } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { trust: { type: "string" }, pinned: { type: "string", multiple: true }, json: { type: "boolean" } },
    });
    const [directory, ...others] = positionals;
    if (directory === undefined || others.length > 0 || values.trust === undefined) return fail(usage);
    const report = verifyEvidence({
      directory,
      trust: parseTrust(readFileSync(values.trust, "utf8")),
      pinned: (values.pinned ?? []).map((file) => readFileSync(file, "utf8")),
    });
    const text = values.json === true ? JSON.stringify(report, undefined, 2) : reportLines(report).join("\n");
    process.stdout.write(`${text}\n`);
    return exitCodeOf(report);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return fail(`countersign verify: ${message}${codeOf(error)?.startsWith("ERR_PARSE") === true ? `\n${usage}` : ""}`);
  }
}

/** 2 as for `incomplete`: nothing was found out. */
function fail(message: string): 2 {
  process.stderr.write(`${message}\n`);
  return 2;
}
