import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { parseScript } from "../providers/index.ts";
import type { Script } from "../providers/index.ts";
import { CliError } from "./cli-error.ts";

/**
 * The scripts that COUNTERSIGN_SCRIPTS names: one file, or a folder with `script.yaml` and `NAME.script.yaml` in it or below. Throws
 * `environment`, or `script_invalid` with file, line and column.
 */
export async function ownScripts(env: NodeJS.ProcessEnv): Promise<readonly Script[]> {
  const place = env["COUNTERSIGN_SCRIPTS"];
  if (place === undefined || place === "") return [];
  const files = await filesAt(place);
  const scripts = await Promise.all(files.map(async (file) => parseScript(await readFile(file, "utf8"), file)));
  const twice = scripts.find(({ model }, index) => scripts.findIndex((other) => other.model === model) !== index);
  if (twice === undefined) return scripts;
  throw new CliError("environment", `COUNTERSIGN_SCRIPTS: two scripts are for the model \`${twice.model}\``, {
    hint: "name another model in one of them, and in its agent.yaml",
  });
}

async function filesAt(place: string): Promise<readonly string[]> {
  const found = await stat(place).catch(() => undefined);
  if (found?.isFile() === true) return [place];
  const names = found?.isDirectory() === true ? await readdir(place, { recursive: true }) : [];
  const files = names.filter((name) => /(^|[/\\.])script\.ya?ml$/.test(name)).toSorted();
  if (files.length > 0) return files.map((name) => join(place, name));
  throw new CliError("environment", `COUNTERSIGN_SCRIPTS: \`${place}\` is neither a script nor a folder with scripts`, {
    hint: "name a file, or a folder that has `script.yaml` or `NAME.script.yaml` in it or below",
  });
}
