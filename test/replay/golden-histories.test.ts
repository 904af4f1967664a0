import { readdir, readFile } from "node:fs/promises";
import { DefaultLogger, Runtime, Worker } from "@temporalio/worker";
import { beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { bundleWorkflows } from "../../src/temporal/index.ts";
import type { WorkflowBundle } from "../../src/temporal/index.ts";

const folder = new URL("./histories/", import.meta.url);
const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));

let bundle: WorkflowBundle;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR", () => undefined) });
  bundle = await bundleWorkflows();
});

type History = { readonly events: readonly Json[] };

function workflowId(history: History): string {
  const started = history.events[0] as { workflowExecutionStartedEventAttributes: { workflowId: string } };
  return started.workflowExecutionStartedEventAttributes.workflowId;
}

async function replay(history: History): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: { code: bundle.code } }, history, workflowId(history));
}

describe("today's workflow code leads to the recorded commands of every history that was ever released", () => {
  test.each(names)("%s", async (name) => {
    const history = JSON.parse(await readFile(new URL(name, folder), "utf8")) as History;
    await expect(replay(history)).resolves.toBeUndefined();
  });
});

test("a history whose activity was exchanged does not replay", async () => {
  const text = await readFile(new URL("v1-approved.json", folder), "utf8");
  const changed = text.replaceAll(/("activityType":\s*\{\s*"name":\s*)"tool"/g, '$1"retrieval"');
  expect(changed).not.toBe(text);
  await expect(replay(JSON.parse(changed) as History)).rejects.toThrow(/[Nn]ondeterminism|TMPRL1100/);
});
