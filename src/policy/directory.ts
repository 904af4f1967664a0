import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { parseCases } from "./case-file.ts";
import type { CaseTable } from "./cases.ts";
import { PolicyError, refuseErrors } from "./errors.ts";
import type { PolicyProblem } from "./errors.ts";
import { parseHistory } from "./history-facts.ts";
import type { HistoryFile } from "./history-facts.ts";
import { maxFileLength, policySetOf } from "./policy-set.ts";
import type { PolicySetDocument, PolicySources } from "./policy-set.ts";
import { parseRates, placesOfRates } from "./rates.ts";
import type { RatesFile } from "./rates.ts";

/**
 * A pack: the policies of a directory's `*.cedar` files, the facts of its `history.yaml`, the policies and facts of its `rates.yaml`, and its `cases.yaml`
 * (all empty if it has none).
 */
export type PolicyDirectory = CaseTable & {
  readonly document: PolicySetDocument;
  readonly sources: PolicySources;
  /** Warnings of policies that lie below the directory, where they are not read. */
  readonly unread: readonly PolicyProblem[];
};

/**
 * Reads a pack; subdirectories are no part of it. Throws PolicyError `directory_unreadable`, `policies_invalid` (with
 * file, line and column; parsing only, validation needs the team's tools: `checkPolicySet`), or `cases_invalid`.
 */
export async function loadPolicyDirectory(directory: string): Promise<PolicyDirectory> {
  const names = await listed(directory);
  const cedarNames = names.filter((name) => name.endsWith(".cedar"));
  const below = await foldersWithPolicies(directory, names);
  if (cedarNames.length === 0) {
    throw new PolicyError("directory_unreadable", `expected at least one *.cedar file in \`${directory}\``, {
      ...(below.length === 0 ? {} : { hint: `there are some in ${below.join(", ")}: give one of these` }),
    });
  }
  refuseErrors(misnamed(names));
  const files = await Promise.all(cedarNames.map(async (name) => ({ name, text: await readText(directory, name) })));
  const history = names.includes("history.yaml") ? parseHistory(await readText(directory, "history.yaml")) : noHistory;
  const rates = names.includes("rates.yaml") ? await readText(directory, "rates.yaml") : undefined;
  const { policies, facts, problems: rateProblems } = rates === undefined ? noRates : parseRates(rates);
  const written = policies.map(({ text }) => ({ name: "rates.yaml", text }));
  const { document, sources, problems } = policySetOf([...files, ...written], [...history.facts, ...facts]);
  refuseErrors([...problems, ...history.problems, ...rateProblems, ...countedTwice(document)]);
  const table = names.includes("cases.yaml")
    ? parseCases(await readText(directory, "cases.yaml"), "cases.yaml", document.history)
    : { tools: [], cases: [] };
  const places = rates === undefined ? [] : placesOfRates(rates);
  const unread = below.map((folder): PolicyProblem => {
    return {
      severity: "warning",
      file: folder,
      message: "its policies are not read: they count only in the pack's own folder",
    };
  });
  return { document, sources: new Map([...sources, ...history.sources, ...places]), unread, ...table };
}

/** Files that are meant for the pack, and would be no part of it: `rates.yml` would limit nothing. */
function misnamed(names: readonly string[]): PolicyProblem[] {
  return names.flatMap((name): PolicyProblem[] => {
    const right = name.toLowerCase().replace(/\.yml$/, ".yaml");
    const isMeant = packFiles.includes(right) || right.endsWith(".cedar");
    return isMeant && right !== name
      ? [{ severity: "error", file: name, message: `is not read under this name: call it ${right}` }]
      : [];
  });
}

const packFiles: readonly string[] = ["cases.yaml", "history.yaml", "rates.yaml"];

/** Subdirectories with policies in them, by name. */
async function foldersWithPolicies(directory: string, names: readonly string[]): Promise<readonly string[]> {
  const inside = await Promise.all(
    names.map((name) =>
      readdir(join(directory, name)).then(
        (files) => files,
        () => [],
      ),
    ),
  );
  return names.filter((_, index) => inside[index]?.some((name) => name.endsWith(".cedar")) === true);
}

const noRates: RatesFile = { policies: [], facts: [], problems: [] };

/** Facts that `history.yaml` and `rates.yaml` both declare. */
function countedTwice({ history = [] }: PolicySetDocument): PolicyProblem[] {
  const names = history.map(({ name }) => name);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  return twice.map((name) => {
    return { severity: "error", file: "history.yaml", message: `fact ${name} is what a rate of rates.yaml counts` };
  });
}

const noHistory: HistoryFile = { facts: [], sources: new Map(), problems: [] };

async function listed(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === "ENOENT" ? "it is not there" : code === "ENOTDIR" ? "it is no directory" : (code ?? "it fails");
    throw new PolicyError("directory_unreadable", `policy directory \`${directory}\` cannot be read: ${why}`, {
      cause,
      hint: "give a folder with *.cedar files, such as policies/base",
    });
  }
}

async function readText(directory: string, name: string): Promise<string> {
  const path = join(directory, name);
  try {
    const found = await stat(path);
    // Reading a pipe would wait for whoever writes to it.
    if (!found.isFile()) throw new RangeError("it is no file");
    if (found.size > maxFileLength) throw new RangeError(`expected at most ${maxFileLength} bytes, got ${found.size}`);
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    throw new PolicyError("directory_unreadable", `${path}: ${whyUnreadable(cause)}`, { cause });
  }
}

function whyUnreadable(cause: unknown): string {
  if (cause instanceof RangeError) return cause.message;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") return "it is not UTF-8 text";
  return code === "ENOENT" ? "it is a link to nothing" : `it cannot be read (${code ?? "no reason"})`;
}
