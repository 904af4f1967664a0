import type { PolicySetDocument, PolicyTool, Proof } from "../policy/index.ts";
import type { Cli } from "./cli.ts";
import { safe } from "./terminal.ts";

/** What `cedar symcc` found, or why it was left out. */
export type ProofReport = {
  readonly status: "done" | "left_out";
  readonly reason?: string;
  readonly proofs: readonly Proof[];
};

export async function neverErrors(
  cli: Cli,
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
): Promise<ProofReport> {
  const { proveNeverErrors } = await import("../policy/index.ts");
  return prove(cli, (symcc, say) => proveNeverErrors(symcc, document, tools, say));
}

export async function change(
  cli: Cli,
  before: PolicySetDocument,
  after: PolicySetDocument,
  tools: readonly PolicyTool[],
): Promise<ProofReport> {
  const { proveChange } = await import("../policy/index.ts");
  return prove(cli, (symcc, say) => proveChange(symcc, before, after, tools, say));
}

async function prove(
  { env, terminal }: Cli,
  work: (symcc: { readonly cedar: string }, say: (proof: Proof) => void) => Promise<readonly Proof[]>,
): Promise<ProofReport> {
  const { findSymcc } = await import("../policy/index.ts");
  const lookup = await findSymcc(env);
  if (lookup.status === "missing") {
    terminal.say(`${terminal.colors.yellow("left out")}: cedar symcc: ${lookup.reason}`);
    terminal.say(`  ${terminal.colors.dim(lookup.hint)}`);
    return { status: "left_out", reason: lookup.reason, proofs: [] };
  }
  const proofs = await work(lookup.symcc, ({ property, of, policy, action, result }) => {
    const what = [policy, property, property === "never errors" ? undefined : of].filter((part) => part !== undefined);
    const { colors } = terminal;
    const status =
      result.status === "proved"
        ? colors.green("proved")
        : result.status === "refuted"
          ? colors.red("refuted")
          : colors.yellow("failed");
    terminal.say(`${status} ${action}: ${safe(what.join(", "))}`);
    const more = result.status === "refuted" ? result.counterexample : result.status === "failed" ? result.message : "";
    for (const line of more.split("\n").filter((text) => text !== "")) terminal.say(`    ${safe(line)}`);
  });
  return { status: "done", proofs };
}
