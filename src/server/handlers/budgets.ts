import { ApiError } from "../../api/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { listBudgets, setBudget, targetExists } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { budgetSet } from "../ledger-events.ts";

export const budgetHandlers: Handlers<"setBudget" | "listBudgets"> = {
  async setBudget({ body }, { services, caller }) {
    const { id: by } = caller();
    const { team, agent, period, approvers } = body;
    const limits = { microUsd: body.maxMicroUsd, tokens: body.maxTokens, calls: body.maxCalls };
    return inTransaction(services.pool, async (tx) => {
      if (!(await targetExists(tx, { team, agent }))) {
        const what = agent === undefined ? `team \`${team}\`` : `agent \`${team}/${agent}\``;
        throw new ApiError("agent_not_found", `${what} has no release`, { hint: "see `countersign agent list`" });
      }
      const event = await setBudget(tx, { team, agent, period, limits, approvers, by });
      if (event !== undefined) {
        await appendToOutbox(tx, [budgetSet({ team, agent, period, limits, approvers }, event, by)]);
      }
      return { changed: event !== undefined };
    });
  },

  async listBudgets({ query: { team } }, { services, caller }) {
    const budgets = await listBudgets(services.pool, team ?? caller().teams);
    return {
      budgets: budgets.map((budget) => ({
        ...budget,
        starts: budget.starts.toISOString(),
        at: budget.at.toISOString(),
      })),
    };
  },
};
