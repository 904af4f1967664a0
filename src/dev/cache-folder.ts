import { homedir } from "node:os";
import { join } from "node:path";

/** Where is kept what can be made again: below XDG_CACHE_HOME, or else below ~/.cache. */
export function cacheFolder(env: NodeJS.ProcessEnv, ...names: readonly string[]): string {
  const base = env["XDG_CACHE_HOME"];
  const cache = base === undefined || base === "" ? join(env["HOME"] ?? homedir(), ".cache") : base;
  return join(cache, "countersign", ...names);
}
