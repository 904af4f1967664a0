/**
 * Proofs about policies by `cedar symcc` (the crate cedar-policy-symcc, an SMT solver behind it). Written to the command line of
 * cedar-policy-cli 4.14.1, and seen to prove and refute with it and cvc5 1.4.2 (called through its Python bindings).
 */
import { execFile } from "node:child_process";
import { access, constants, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { readPolicy } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import type { PolicySetDocument } from "./policy-set.ts";
import { coversAction } from "./scope.ts";
import { actionOfTool, groupsOfTool, modelAction, responseAction, schemaText } from "./schema.ts";
import { mentionsResponse } from "./slices.ts";
import type { PolicyTool } from "./schema.ts";

export type Symcc = { readonly cedar: string };

export type SymccLookup =
  | { readonly status: "found"; readonly symcc: Symcc }
  /** Why it was left out, and how to get it. */
  | { readonly status: "missing"; readonly reason: string; readonly hint: string };

export type Proof = {
  /** `never errors`; `narrows`: what the second set allows, the first allowed too; `widens`: the other way round. */
  readonly property: "never errors" | "narrows" | "widens";
  /** For what is allowed at once, or for what is allowed with people's approval and obligations met. */
  readonly of: "allowed" | "allowed with approval";
  readonly policy?: string;
  readonly action: string;
  readonly result:
    | { readonly status: "proved" }
    /** The request and entities that show it, as Cedar prints them. */
    | { readonly status: "refuted"; readonly counterexample: string }
    | { readonly status: "failed"; readonly message: string };
};

/** The solver has 60 seconds by itself. */
const timeoutMs = 90_000;
const maxOutputBytes = 4 * 1024 * 1024;
const hint =
  "install Cedar's CLI with analysis (the experimental prebuilt archive of github.com/cedar-policy/cedar releases, or `cargo install cedar-policy-cli --features analyze`) and cvc5 (1.3.1 or later), and set CVC5 to its path";

/** Looks for a `cedar` on the PATH that can do `symcc`. */
export async function findSymcc(env: Readonly<Record<string, string | undefined>>): Promise<SymccLookup> {
  const cedar = await onPath("cedar", env["PATH"] ?? "");
  if (cedar === undefined) return { status: "missing", reason: "there is no `cedar` on the PATH", hint };
  const { code } = await run(cedar, ["symcc", "--help"]);
  return code === 0
    ? { status: "found", symcc: { cedar } }
    : { status: "missing", reason: "the `cedar` on the PATH was built without `symcc`", hint };
}

async function onPath(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter).filter((one) => one !== "")) {
    const file = join(folder, name);
    const isThere = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  return undefined;
}

/** Whether any policy can fail while it is evaluated, for each action that it is about. */
export async function proveNeverErrors(
  symcc: Symcc,
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  onProof: (proof: Proof) => void = () => undefined,
): Promise<readonly Proof[]> {
  return withFiles(document, tools, async (schema, write) => {
    const proofs: Proof[] = [];
    for (const policy of policiesOf(document)) {
      const file = await write([policy]);
      for (const action of actionsOf(tools, asksResponses(document)).filter(({ name, groups }) =>
        coversAction(policy.scope.action, name, groups),
      )) {
        const result = await ask(symcc, action.name, schema, ["never-errors", "--policies", file]);
        const proof: Proof = {
          property: "never errors",
          of: "allowed",
          policy: policy.id,
          action: action.name,
          result,
        };
        proofs.push(proof);
        onProof(proof);
      }
    }
    return proofs;
  });
}

/**
 * Whether `after` allows no more than `before`, and no less, for each action: both for what is allowed at once (forbids that people can
 * lift count as forbids) and for what can be allowed at all (they do not).
 */
export async function proveChange(
  symcc: Symcc,
  before: PolicySetDocument,
  after: PolicySetDocument,
  tools: readonly PolicyTool[],
  onProof: (proof: Proof) => void = () => undefined,
): Promise<readonly Proof[]> {
  const policies = [...before.policies, ...after.policies];
  const both: PolicySetDocument = {
    ...after,
    policies,
    history: [...(before.history ?? []), ...(after.history ?? [])],
  };
  const declared = new Map((both.history ?? []).map((fact) => [fact.name, fact]));
  return withFiles({ ...both, history: [...declared.values()] }, tools, async (schema, write) => {
    const proofs: Proof[] = [];
    for (const scope of ["allowed", "allowed with approval"] as const) {
      const [first, second] = await Promise.all(
        [before, after].map((set) => write(policiesOf(set).filter(counts(scope)))),
      );
      // A set that does not speak of answers lets them all through, which Cedar does not know.
      for (const { name } of actionsOf(tools, asksResponses(before) && asksResponses(after))) {
        for (const property of ["narrows", "widens"] as const) {
          const [one = "", other = ""] = property === "narrows" ? [second, first] : [first, second];
          const result = await ask(symcc, name, schema, ["implies", "--policies1", one, "--policies2", other]);
          const proof: Proof = { property, of: scope, action: name, result };
          proofs.push(proof);
          onProof(proof);
        }
      }
    }
    return proofs;
  });
}

function counts(scope: Proof["of"]): (policy: ReadPolicy) => boolean {
  return ({ approval, obligation }) => scope === "allowed" || (approval === undefined && obligation === undefined);
}

function policiesOf({ policies }: PolicySetDocument): readonly ReadPolicy[] {
  return policies.flatMap(({ text }) => {
    const read = readPolicy(text);
    return "policy" in read ? [read.policy] : [];
  });
}

function asksResponses(document: PolicySetDocument): boolean {
  return mentionsResponse(policiesOf(document));
}

function actionsOf(
  tools: readonly PolicyTool[],
  withResponses: boolean,
): readonly { readonly name: string; readonly groups: readonly string[] }[] {
  return [
    { name: modelAction, groups: [] },
    ...(withResponses ? [{ name: responseAction, groups: [] }] : []),
    ...tools.map((tool) => ({ name: actionOfTool(tool), groups: groupsOfTool(tool) })),
  ];
}

type Write = (policies: readonly ReadPolicy[]) => Promise<string>;

async function withFiles<Result>(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  work: (schema: string, write: Write) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-symcc-"));
  let written = 0;
  try {
    const schema = join(folder, "tools.cedarschema");
    await writeFile(schema, schemaText(tools, document.history, asksResponses(document)));
    return await work(schema, async (policies) => {
      const file = join(folder, `policies${written++}.cedar`);
      await writeFile(file, policies.map(({ text }) => text).join("\n\n"));
      return file;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function ask(
  { cedar }: Symcc,
  action: string,
  schema: string,
  command: readonly string[],
): Promise<Proof["result"]> {
  const types = [
    "--principal-type",
    "Agent",
    "--action",
    `Action::${JSON.stringify(action)}`,
    "--resource-type",
    "Run",
  ];
  const { code, stdout, stderr } = await run(cedar, ["symcc", ...types, "--schema", schema, ...command]);
  return resultOf(code, stdout, stderr);
}

/** It ends with 0 whether the property holds or not: which, its first line says. Anything else proves nothing. */
function resultOf(code: number | undefined, stdout: string, stderr: string): Proof["result"] {
  const [first = "", ...others] = stdout.trim().split("\n");
  if (code === 0 && first.endsWith(": VERIFIED")) return { status: "proved" };
  if (code === 0 && first.endsWith(": DOES NOT HOLD")) {
    const shown = others.filter((line) => line.trim() !== "Counterexample found:").join("\n");
    return { status: "refuted", counterexample: shown.trim() };
  }
  const said = stderr.trim().split("\n").slice(0, 3).join(" ").slice(0, 300);
  return { status: "failed", message: said === "" ? "cedar symcc gave no answer" : said };
}

type Ended = { readonly code: number | undefined; readonly stdout: string; readonly stderr: string };

function run(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, maxBuffer: maxOutputBytes, killSignal: "SIGKILL" } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : undefined;
      resolve({ code, stdout, stderr: error?.killed === true ? `no answer in ${timeoutMs / 1000} s` : stderr });
    });
  });
}
