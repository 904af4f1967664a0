import { readFile } from "node:fs/promises";
import { inject } from "vitest";
import { sha256 } from "../../src/store/canonical.ts";
import type { WorkflowBundle } from "../../src/temporal/index.ts";
// The type of `inject("workflowBundle")` is declared there.
import type {} from "./global-bundle.ts";

const read = new Map<string, Promise<WorkflowBundle>>();

/** The workflow code of this checkout, as a worker would bundle it; `hasty`: with a shorter heartbeat time-out. */
export async function testBundle(hasty = false): Promise<WorkflowBundle> {
  const file = testBundleFile(hasty);
  const bundle = read.get(file) ?? readFile(file, "utf8").then((code) => ({ code, digest: sha256(code) }));
  read.set(file, bundle);
  return bundle;
}

/** Its file, for processes of their own. */
export function testBundleFile(hasty = false): string {
  return inject(hasty ? "hastyBundle" : "workflowBundle");
}
