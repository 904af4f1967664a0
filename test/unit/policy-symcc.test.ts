import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { findSymcc, policySetOf, proveChange, proveNeverErrors } from "../../src/policy/index.ts";
import type { PolicyTool, Symcc } from "../../src/policy/index.ts";

// The real program is not here: these tests are of what it is asked, and of how its answers are read.
const parameters = { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] } as const;
const tools: PolicyTool[] = [{ name: "pay", effect: "write", groups: ["money"], parameters }];
const setOf = (...texts: string[]) => policySetOf([{ name: "a.cedar", text: texts.join("\n") }]).document;
const permit =
  '@id("pay") permit (principal, action in Action::"group/money", resource) when { context.input.amount + 1 > 0 };';
const held = '@id("ask") @decision("require_approval") @group("g") forbid (principal, action, resource);';

let folder: string;
let symcc: Symcc;

/** A `cedar` that writes down what it is asked, with the files it is given, and answers with `script`. */
async function fakeCedar(script: string): Promise<string> {
  const file = join(folder, "cedar");
  await writeFile(
    file,
    `#!/bin/sh
if [ "$2" = "--help" ]; then exit \${SYMCC_HELP:-0}; fi
printf '%s\\n' "$@" >> "${folder}/asked"
for one in "$@"; do if [ -f "$one" ]; then echo "--- $one"; cat "$one"; echo; fi; done >> "${folder}/files"
echo === >> "${folder}/asked"
${script}
`,
  );
  await chmod(file, 0o755);
  return file;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fake-cedar-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function asked(): Promise<string[][]> {
  const text = await readFile(join(folder, "asked"), "utf8");
  await rm(join(folder, "asked"));
  return text.split("===\n").flatMap((one) => (one === "" ? [] : [one.trim().split("\n")]));
}

describe("cedar symcc", () => {
  it("is found on the PATH, or said to be missing with how to get it", async () => {
    await expect(findSymcc({ PATH: "/nowhere:" })).resolves.toMatchObject({
      status: "missing",
      hint: expect.stringContaining("cvc5") as string,
    });
    await fakeCedar("exit 0");
    const found = await findSymcc({ PATH: `/nowhere:${folder}` });
    expect(found).toEqual({ status: "found", symcc: { cedar: join(folder, "cedar") } });
    await writeFile(join(folder, "cedar"), "#!/bin/sh\nexit 2\n");
    await expect(findSymcc({ PATH: folder })).resolves.toMatchObject({
      status: "missing",
      reason: expect.stringContaining("without") as string,
    });
  });

  it("is asked for each policy and action whether it never errors", async () => {
    symcc = { cedar: await fakeCedar('printf "✓ Policy never errors: VERIFIED\\n"') };
    const proofs = await proveNeverErrors(symcc, setOf(permit, held), tools);
    expect(proofs.map(({ policy, action, result }) => `${policy} ${action} ${result.status}`)).toEqual([
      "ask model proved",
      "ask tool/pay proved",
      "pay tool/pay proved",
    ]);
    const calls = await asked();
    const [, second] = calls;
    const schema = second?.[8] ?? "";
    const policies = second?.[11] ?? "";
    expect(second).toEqual([
      "symcc",
      "--principal-type",
      "Agent",
      "--action",
      'Action::"tool/pay"',
      "--resource-type",
      "Run",
      "--schema",
      schema,
      "never-errors",
      "--policies",
      policies,
    ]);
    // One policy in the file, and nothing left behind.
    const files = await readFile(join(folder, "files"), "utf8");
    expect(files).toContain(`--- ${policies}\n@id("ask")`);
    expect(files).toContain('action "tool/pay" in');
    expect(existsSync(policies) || existsSync(schema)).toBe(false);
  });

  it("compares two sets in both directions, at once and with approval; a counterexample is shown", async () => {
    symcc = {
      cedar: await fakeCedar(
        'case "$*" in *implies*policies0*policies1*) printf "✗ Policy set 1 implies policy set 2: DOES NOT HOLD\\n  Counterexample found:\\nprincipal: Agent::\\"a\\"\\n";; *) printf "✓ Policy set 1 implies policy set 2: VERIFIED\\n";; esac',
      ),
    };
    await rm(join(folder, "files"), { force: true });
    const proofs = await proveChange(symcc, setOf(permit), setOf(permit, held), tools);
    expect(proofs.filter(({ action }) => action === "model")).toEqual([
      { property: "narrows", of: "allowed", action: "model", result: { status: "proved" } },
      {
        property: "widens",
        of: "allowed",
        action: "model",
        result: { status: "refuted", counterexample: 'principal: Agent::"a"' },
      },
      { property: "narrows", of: "allowed with approval", action: "model", result: { status: "proved" } },
      { property: "widens", of: "allowed with approval", action: "model", result: { status: "proved" } },
    ]);
    const [narrows] = await asked();
    expect(narrows?.slice(9).map((part) => part.split("/").at(-1))).toEqual([
      "implies",
      "--policies1",
      "policies1.cedar",
      "--policies2",
      "policies0.cedar",
    ]);
    // What people can lift is left out of the sets for "with approval".
    const files = await readFile(join(folder, "files"), "utf8");
    const last = files.split("--- ").findLast((part) => part.includes("policies3.cedar\n"));
    expect(last).not.toContain("require_approval");
  });

  it.each<[string, string, string]>([
    ["it fails", 'echo "CVC5 solver not found" >&2; exit 1', "CVC5 solver not found"],
    ["it says nothing", "exit 0", "no answer"],
    ["it says verified and fails", 'echo "✓ x: VERIFIED"; exit 1', "no answer"],
  ])("proves nothing where %s", async (_name, script, message) => {
    symcc = { cedar: await fakeCedar(script) };
    const [proof] = await proveNeverErrors(symcc, setOf(permit), tools);
    expect(proof?.result).toMatchObject({ status: "failed", message: expect.stringContaining(message) as string });
  });
});
