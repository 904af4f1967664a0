import { parse } from "yaml";

import { CliError } from "./cli-error.ts";

/** A YAML or JSON document. Keys may stand in it once, and aliases only so often as no text grows from them. Throws `usage`. */
export function readYamlDocument(text: string, path: string): unknown {
  try {
    return parse(text, { uniqueKeys: true, maxAliasCount: 10 });
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : "";
    throw new CliError("usage", `\`${path}\` is not YAML or JSON: ${why}`, { cause });
  }
}
