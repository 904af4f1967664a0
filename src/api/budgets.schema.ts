import { z } from "zod";

import { budgetNames, budgetPeriods } from "../core/budget.ts";
import { microUsd, name, principalId, time } from "./common.schema.ts";

const limit = z.int().min(0).max(1_000_000_000_000_000);
const group = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "expected lower-case letters, digits, `_` and `-`");

/** A limit that is not given is none. */
export const setBudgetBody = z
  .strictObject({
    team: name,
    agent: name.optional(),
    period: z.enum(budgetPeriods),
    maxMicroUsd: limit.nullable().default(null),
    maxTokens: limit.nullable().default(null),
    maxCalls: limit.nullable().default(null),
    /** Members of this group may let a step go beyond it. */
    approvers: group.default("budget"),
  })
  .meta({ id: "Budget" });

const amounts = z.object({ microUsd, tokens: z.int(), calls: z.int() });

export const budgetView = z
  .object({
    name: z.enum(budgetNames),
    team: name,
    agent: name.nullable(),
    period: z.enum(budgetPeriods),
    starts: time.describe("when the present period began"),
    limits: z.object({ microUsd: microUsd.nullable(), tokens: z.int().nullable(), calls: z.int().nullable() }),
    spent: amounts,
    held: amounts.describe("the most that steps under way can take"),
    extended: amounts.describe("what approvers gave beyond the limits"),
    approvers: z.string(),
    at: time,
    by: principalId,
  })
  .meta({ id: "BudgetView" });

export const budgetSet = z.object({ changed: z.boolean().describe("false: it was in force as given already") });
export const budgetPage = z.object({ budgets: z.array(budgetView) });
export const budgetsQuery = z.strictObject({ team: name.optional() });
