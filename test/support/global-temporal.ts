import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { freePort, resolveHome, startTemporal } from "../../src/dev/index.ts";
import { hastyTemporal } from "./hasty.ts";
import { shareServer } from "./shared-server.ts";

export type TestTemporal = { readonly address: string; readonly namespace: string };

declare module "vitest" {
  interface ProvidedContext {
    temporal: TestTemporal;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { server, release } = await shareServer("temporal", start);
  project.provide("temporal", server.facts);
  return release;
}

async function start(): Promise<{ readonly facts: TestTemporal; stop(): Promise<void> }> {
  const home = resolveHome({ COUNTERSIGN_HOME: await mkdtemp(join(tmpdir(), "countersign-test-")) });
  const remove = (): Promise<void> => rm(home.root, { recursive: true, force: true });
  try {
    const temporal = await startTemporal({
      home,
      port: await freePort(),
      env: process.env,
      settings: hastyTemporal,
      onProgress: report,
    });
    const stop = async (): Promise<void> => {
      await temporal.stop();
      await remove();
    };
    return { facts: { address: temporal.address, namespace: "default" }, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** To stderr: the last line of stdout is the summary's. */
function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
