import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleWorkflows } from "../../src/temporal/index.ts";
import { hastyCode } from "./hasty.ts";
import { shareServer } from "./shared-server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** A file, and another with `hastyCode`. */
    workflowBundle: string;
    hastyBundle: string;
  }
}

/** The workflow code is bundled once for a run: two seconds of a core that every file with a worker would spend. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { server, release } = await shareServer("bundle", bundled);
  project.provide("workflowBundle", server.file);
  project.provide("hastyBundle", server.hasty);
  return release;
}

async function bundled(): Promise<{ readonly file: string; readonly hasty: string; stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-test-"));
  const [file, hasty] = [join(folder, "workflows.js"), join(folder, "hasty.js")];
  const { code } = await bundleWorkflows();
  await Promise.all([writeFile(file, code), writeFile(hasty, hastyCode(code))]);
  return { file, hasty, stop: () => rm(folder, { recursive: true, force: true }) };
}
