import { z } from "zod";

import { confidentialities, defaultResultLabels } from "./labels.ts";

const origin = z.enum(["trusted", "untrusted"]);
const confidentiality = z.enum(confidentialities);
const place = z
  .string()
  .max(128)
  .regex(
    /^[^.\s]+(?:\.[^.\s]+)*$/u,
    "must be a place in a result, such as `*.id`: names with dots between, `*` for each item of a list",
  );
const where = z
  .record(
    place,
    z.union([z.string().max(128), z.number(), z.boolean()], { error: "must be one text or number, true or false" }),
  )
  .refine((conditions) => Object.keys(conditions).length > 0, "must name at least one place and the value it has");
const conditionalPlace = z
  .strictObject({ at: z.array(place).min(1).max(50), where })
  .superRefine(({ at, where: conditions }, context) => {
    for (const condition of Object.keys(conditions)) {
      const names = condition.split(".");
      const parent = names
        .slice(0, -1)
        .map((name) => `${name}.`)
        .join("");
      // What has a property is an object, and has no items.
      const other = at.find(
        (one) => names.at(-1) === "*" || !one.startsWith(parent) || one.slice(parent.length).split(".")[0] === "*",
      );
      if (other === undefined) continue;
      const message = `must be a property of an object on the way to \`${other}\``;
      context.addIssue({ code: "custom", path: ["where", condition], message });
    }
  });
/** Places in a tool's result: names of properties with dots between, `*` for each item of a list. */
export const identifierPlaces = z
  .array(
    z.union([place, conditionalPlace], {
      error: 'must be a place in a result, or one with conditions: { at: ["*.recipient"], where: { "*.sender": me } }',
    }),
  )
  .min(1)
  .max(50);
const identifiers = z.exactOptional(identifierPlaces);

/** A tool's `results`, as manifests and code write them; what is not said is as for a tool that says nothing. */
export const resultLabels = z
  .strictObject({
    origin: origin.default(defaultResultLabels.origin),
    confidentiality: confidentiality.default(defaultResultLabels.confidentiality),
    identifiers,
  })
  .refine(hasUseForIdentifiers, { path: ["identifiers"], error: "all of a trusted result is trusted" });

/** A tool's `results`, as releases have them. */
export const writtenResultLabels = z
  .strictObject({ origin, confidentiality, identifiers })
  .refine(hasUseForIdentifiers, { path: ["identifiers"], error: "all of a trusted result is trusted" });

function hasUseForIdentifiers(labels: { readonly origin: string; readonly identifiers?: unknown }): boolean {
  return labels.origin === "untrusted" || labels.identifiers === undefined;
}

/** A tool's `destinations`: names of its top-level arguments. */
export const destinationNames = z.array(z.string().min(1).max(128)).max(100);

/** Where `destinations` names an argument that `parameters` does not describe: the name; it would be watched in vain. */
export function unknownDestination(
  destinations: readonly string[] | undefined,
  parameters: { readonly [name: string]: unknown },
): string | undefined {
  const { properties } = parameters;
  const known = typeof properties === "object" && properties !== null ? properties : {};
  return destinations?.find((name) => !Object.hasOwn(known, name));
}
