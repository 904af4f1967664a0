import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { toolNamePattern } from "../core/ids.ts";
import { destinationNames, resultLabels, unknownDestination } from "../core/labels.schema.ts";
import { maxToolTimeoutMs } from "../core/release.ts";
import { renderHintsByName } from "../core/render.schema.ts";
import { sourceFacts } from "../core/retrieval.schema.ts";

/** What every tool says of itself, whatever it is made of: the same bounds as the API's. */
export const toolFacts = z
  .strictObject({
    name: z
      .string()
      .regex(toolNamePattern, "must be letters, digits, `_` and `-`, at most 64, and begin with a letter"),
    description: z.string().max(10_000),
    parameters: z
      .record(z.string(), z.json())
      .refine((schema) => schema["type"] === "object", 'needs `type: "object"`'),
    effect: z.enum(effectClasses),
    groups: z
      .array(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be lower-case letters, digits, `_` and `-`"))
      .max(32),
    idempotency: z.enum(["key", "lookup", "none"]),
    short: z.boolean(),
    timeoutMs: z.int().min(1).max(maxToolTimeoutMs),
    destinations: destinationNames.optional(),
    results: resultLabels.optional(),
    source: sourceFacts.optional(),
    render: renderHintsByName.optional(),
  })
  .superRefine(({ destinations, render, parameters }, context) => {
    const unknown = unknownDestination(destinations, parameters);
    if (unknown !== undefined)
      context.addIssue({ code: "custom", path: ["destinations"], message: `there is no argument \`${unknown}\`` });
    const unread = unknownDestination(Object.keys(render ?? {}), parameters);
    if (unread !== undefined)
      context.addIssue({ code: "custom", path: ["render"], message: `there is no argument \`${unread}\`` });
  });
