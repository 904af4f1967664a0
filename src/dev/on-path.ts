import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The program called `name` on `path` (the value of PATH), or undefined. */
export function onPath(name: string, path: string | undefined): string | undefined {
  return (path ?? "")
    .split(delimiter)
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, name))
    .find(isProgram);
}

export function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
