import { z } from "zod";

import { historyScopes } from "../core/decision.ts";

const namePattern = /^[a-z][a-zA-Z0-9_]{0,62}$/;
const actionPattern = /^(?:model|tool|(?:tool|group|effect)\/[A-Za-z][A-Za-z0-9_-]{0,63})$/;
const maxFacts = 50;

const historyFact = z
  .strictObject({
    name: z.string().regex(namePattern, "must be letters, digits and _, and begin with a lower-case letter"),
    measure: z.enum(["count", "sum"]),
    actions: z
      .array(z.string().regex(actionPattern, "must be tool/NAME, group/NAME, effect/CLASS, tool or model"))
      .min(1)
      .max(20),
    argument: z.string().min(1).max(128).optional(),
    per: z.enum(historyScopes),
    withinMs: z
      .int()
      .min(1_000)
      .max(366 * 86_400_000)
      .optional(),
  })
  .refine(
    (fact) => (fact.measure === "sum") === (fact.argument !== undefined),
    "`argument` belongs to a sum, and every sum needs one",
  );

/** The history facts of a policy set, as its document holds them. */
export const historyFacts = z
  .array(historyFact)
  .max(maxFacts)
  .refine((facts) => new Set(facts.map(({ name }) => name)).size === facts.length, "two facts have one name");
