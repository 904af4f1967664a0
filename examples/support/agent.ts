import { defineAgent } from "countersign";
import { lookupOrder, refund, searchPolicies, sendEmail } from "./tools.ts";

/** The same agent as `agent.yaml`, in code. */
export const support = defineAgent({
  name: "support",
  team: "shop",
  useCase: "customer-support",
  riskTier: "limited",
  model: { name: "scripted/support", maxOutputTokens: 1024 },
  promptFile: "./prompt.md",
  tools: [lookupOrder, searchPolicies, sendEmail, refund],
  limits: { maxSteps: 12, maxCost: "$0.50", maxWallClock: "10m" },
  output: {
    type: "object",
    properties: {
      reply: { type: "string", description: "What the customer reads." },
      order_id: { type: "string" },
      refunded_cents: { type: "integer", minimum: 0 },
    },
    required: ["reply"],
    additionalProperties: false,
  },
});
