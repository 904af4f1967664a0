import { z } from "zod";

import { confidentialities, defaultResultLabels } from "./labels.ts";

/** A tool's `results`, as manifests, code and the API write them; what is not said is as for a tool that says nothing. */
export const resultLabels = z.strictObject({
  origin: z.enum(["trusted", "untrusted"]).default(defaultResultLabels.origin),
  confidentiality: z.enum(confidentialities).default(defaultResultLabels.confidentiality),
});

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
