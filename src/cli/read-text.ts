import { readFileSync } from "node:fs";

import { CliError } from "./cli-error.ts";

/** A file that a person named. Throws `file_unreadable`. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `file \`${path}\` cannot be read`, { cause });
  }
}
