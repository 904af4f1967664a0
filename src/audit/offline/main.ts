#!/usr/bin/env node
/**
 * The verifier alone, without the rest of the program: `npm run verify -- DIR --trust trust.json …`, and the bin of the package that
 * `npm run pack:verify` makes. Exit codes as in `print.ts`; 2 too where nothing could be read.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { codeOf } from "../../core/errors.ts";
import { parsePin } from "./pin.ts";
import { exitCodeOf, reportLines } from "./print.ts";
import { parseTrust } from "./trust.ts";
import { verifyEvidence } from "./verify.ts";

const usage = "usage: countersign-verify DIR --trust trust.json [--pinned CHECKPOINT]... [--run RUN]... [--json]";
const help = `${usage}

Verifies an evidence bundle without a server, a database or a network.

  DIR                  the bundle, as \`countersign audit export\` wrote it
  --trust FILE         whom you trust: keys of logs, reviewers and witnesses, never from the bundle itself
  --pinned CHECKPOINT  a checkpoint that you kept from before; may be given more than once
  --run RUN            a run that has to be in the bundle; may be given more than once
  --json               the report as JSON
  --version            the version of this verifier

Exit code: 0 VERIFIED, 1 REFUTED, 2 INCOMPLETE or not understood.`;

// Who reads only the first lines (`| head -1`) gets the verdict's exit code all the same; a verdict that was not written is none.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE")
    process.exitCode = fail(`countersign-verify: the output cannot be written: ${error.message}`);
});
process.stderr.on("error", () => undefined);
process.exitCode = run(process.argv.slice(2));

function run(argv: readonly string[]): number {
  try {
    const { positionals, values } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        trust: { type: "string" },
        pinned: { type: "string", multiple: true },
        run: { type: "string", multiple: true },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean" },
      },
    });
    if (values.help === true) return say(help);
    if (values.version === true) return say(version());
    const [directory, ...others] = positionals;
    if (directory === undefined || others.length > 0 || values.trust === undefined) return fail(usage);
    const report = verifyEvidence({
      directory,
      trust: parseTrust(readFileSync(values.trust, "utf8")),
      pinned: (values.pinned ?? []).map((file) => parsePin(readFileSync(file, "utf8"), file).note),
      runs: values.run ?? [],
    });
    say(values.json === true ? JSON.stringify(report, undefined, 2) : reportLines(report).join("\n"));
    return exitCodeOf(report);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return fail(`countersign-verify: ${message}${codeOf(error)?.startsWith("ERR_PARSE") === true ? `\n${usage}` : ""}`);
  }
}

/** Of the package that this file lies in: the program's, or the verifier's own. */
function version(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

function say(text: string): 0 {
  process.stdout.write(`${text}\n`);
  return 0;
}

/** 2 as for `incomplete`: nothing was found out. */
function fail(message: string): 2 {
  process.stderr.write(`${message}\n`);
  return 2;
}
