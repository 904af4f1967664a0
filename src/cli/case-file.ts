import { parse } from "yaml";

import { CliError } from "./cli-error.ts";
import { brief } from "./terminal.ts";

/** A YAML or JSON document. Keys may stand in it once, and aliases only so often as no text grows from them. Throws `usage`. */
export function readYamlDocument(text: string, path: string): unknown {
  try {
    return parse(text, { uniqueKeys: true, maxAliasCount: 10, logLevel: "error" });
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : "";
    // The parser quotes what it stumbles over, however much that is.
    throw new CliError("usage", `\`${path}\` is not YAML or JSON: ${brief(why, 200)}`, { cause });
  }
}
