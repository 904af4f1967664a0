import { proxyActivities, proxyLocalActivities } from "@temporalio/workflow";

type Message = { readonly role: string; readonly content: string };
type BareActivities = {
  model(input: { readonly run: string; readonly seq: number }): Promise<{ readonly call: boolean }>;
  tool(input: { readonly run: string; readonly seq: number }): Promise<{ readonly status: string }>;
  modelWithConversation(input: { readonly messages: readonly Message[] }): Promise<Message>;
  toolWithConversation(input: { readonly call: Message; readonly messages: readonly Message[] }): Promise<Message>;
};

const options = { startToCloseTimeout: "1m", heartbeatTimeout: "12s" } as const;
const ordinary = proxyActivities<BareActivities>(options);
const local = proxyLocalActivities<BareActivities>({ startToCloseTimeout: "1m" });

/** The agent's loop with references only, on activities that nothing governs: what the gate is measured against. */
export async function bareAgent(input: {
  readonly run: string;
  readonly turns: number;
  readonly fastLane: boolean;
}): Promise<void> {
  const tool = input.fastLane ? local.tool : ordinary.tool;
  for (let turn = 0; turn < input.turns; turn += 1) {
    await ordinary.model({ run: input.run, seq: 2 * turn });
    await tool({ run: input.run, seq: 2 * turn + 1 });
  }
  await ordinary.model({ run: input.run, seq: 2 * input.turns });
}

/** The same loop as agent frameworks write it: the whole conversation in every model call. */
export async function conversationAgent(input: { readonly turns: number }): Promise<void> {
  const messages: Message[] = [];
  for (let turn = 0; turn < input.turns; turn += 1) {
    const call = await ordinary.modelWithConversation({ messages });
    messages.push(call);
    messages.push(await ordinary.toolWithConversation({ call, messages: [] }));
  }
}
