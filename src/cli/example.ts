import { fileURLToPath } from "node:url";

import type { ApiClient } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import { loadPolicyDirectory } from "../policy/index.ts";
import { readAgentFile } from "./agent-file.ts";

export const exampleAgent = { team: "shop", agent: "support" } as const;

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Registers the shipped example agent, and puts its policies in force. Doing it again changes nothing. */
export async function registerExample(client: ApiClient): Promise<void> {
  const document = await readAgentFile(`${root}examples/support/agent.yaml`, [root]);
  await client.registerAgent({ body: { document } });
  const { document: policies } = await loadPolicyDirectory(`${root}policies/support`);
  await client.activatePolicies({
    params: { team: exampleAgent.team },
    body: { document: { v: 1, policies: policies.policies.map((policy) => ({ ...policy })) } },
  });
}

/** Asks the example agent something, as one of the shop's customers. */
export async function startExampleRun(client: ApiClient, prompt: string): Promise<RunId> {
  const { run } = await client.startRun({
    body: {
      ...exampleAgent,
      prompt,
      subject: { id: "cus_ada", email: "ada@example.com" },
      tags: { ticket: "example" },
    },
    headers: {},
  });
  return run.id;
}
