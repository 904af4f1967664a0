import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "./cache-folder.ts";
import { DevError } from "./errors.ts";
import { isProgram, onPath } from "./on-path.ts";
import { runProgram, throwIfAborted } from "./run-program.ts";

/** The newest release of the Temporal CLI that `go install` accepts: later ones have replace directives in their go.mod. */
export const temporalVersion = "v1.5.1";
const goModule = "github.com/temporalio/cli/cmd/temporal";
const goVersion = "1.25";

export type FindOptions = {
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type TemporalBinary = { readonly path: string; readonly origin: "path" | "cache" | "download" | "go" };

/** One way to a `temporal` program: where it is, or why this way is closed. */
export type Rung = {
  readonly origin: TemporalBinary["origin"];
  readonly find: (options: FindOptions) => Promise<{ readonly path: string } | { readonly skipped: string }>;
};

/** In order of cost: what is there, what was kept, what can be fetched in seconds, what can be built in minutes. */
export const rungs: readonly Rung[] = [
  { origin: "path", find: findOnPath },
  { origin: "cache", find: findCached },
  { origin: "download", find: download },
  { origin: "go", find: build },
];

/** Climbs the ladder to the first `temporal` that runs. Throws `temporal_missing`, naming every way; `aborted`. */
export async function findTemporal(options: FindOptions, ladder: readonly Rung[] = rungs): Promise<TemporalBinary> {
  const skipped: string[] = [];
  for (const rung of ladder) {
    throwIfAborted(options.signal);
    const found = await rung.find(options);
    if ("path" in found) return { path: found.path, origin: rung.origin };
    skipped.push(found.skipped);
  }
  throw new DevError("temporal_missing", `no temporal server could be found or made: ${skipped.join("; ")}`, {
    hint: [
      "do one of these, and start again:",
      "- set TEMPORAL_ADDRESS=host:port to a Temporal server that runs already",
      "- install the Temporal CLI, so that `temporal` is on the PATH",
      "- allow access to https://temporal.download, from where the Temporal SDK fetches it",
      `- install Go ${goVersion} or newer, which builds it in a few minutes`,
    ].join("\n"),
  });
}

/** Where the program is kept between runs. */
export function cachedTemporal(env: NodeJS.ProcessEnv): string {
  return cacheFolder(env, "temporal", temporalVersion, "temporal");
}

async function findOnPath({ env }: FindOptions): ReturnType<Rung["find"]> {
  const path = onPath("temporal", env["PATH"]);
  if (path === undefined) return { skipped: "`temporal` is not on the PATH" };
  return (await runs(path, env)) ? { path } : { skipped: `\`${path}\` does not run` };
}

async function findCached({ env }: FindOptions): ReturnType<Rung["find"]> {
  const path = cachedTemporal(env);
  if (!isProgram(path)) return { skipped: "none is cached" };
  return (await runs(path, env)) ? { path } : { skipped: "the cached one does not run" };
}

/** A minute and more on a slow line is fine, a line that delivers nothing for this long is not. */
const downloadStallMs = 15_000;

async function download(options: FindOptions): ReturnType<Rung["find"]> {
  const script = fileURLToPath(new URL(`./temporal-download${extname(import.meta.url)}`, import.meta.url));
  return viaDraft(options, async (draft) => {
    options.onProgress?.(`downloading temporal ${temporalVersion}`);
    const stalled = new AbortController();
    const watch = watchGrowth(draft, downloadStallMs, () => stalled.abort());
    const signal = options.signal === undefined ? stalled.signal : AbortSignal.any([options.signal, stalled.signal]);
    try {
      const { code } = await runProgram(process.execPath, [script, temporalVersion, draft], {
        env: options.env,
        signal,
      });
      if (code !== 0) return "the download failed";
    } catch (error) {
      throwIfAborted(options.signal);
      if (error instanceof DevError) return `the download delivered nothing for ${downloadStallMs / 1_000} s`;
      throw error;
    } finally {
      clearInterval(watch);
    }
    const name = readdirSync(draft).find((file) => isProgram(join(draft, file)));
    if (name === undefined) return "the download left no program";
    renameSync(join(draft, name), join(draft, "temporal"));
    return undefined;
  });
}

async function build(options: FindOptions): ReturnType<Rung["find"]> {
  const go = onPath("go", options.env["PATH"]);
  if (go === undefined) return { skipped: "`go` is not on the PATH" };
  return viaDraft(options, async (draft) => {
    const started = performance.now();
    const elapsed = (): string => `${Math.round((performance.now() - started) / 1_000)} s`;
    options.onProgress?.(`building temporal ${temporalVersion} with go install (once, a few minutes)`);
    const ticks = setInterval(() => options.onProgress?.(`building temporal: ${elapsed()}`), 10_000);
    try {
      const env = { ...options.env, GOBIN: draft };
      const { code, output } = await runProgram(go, ["install", `${goModule}@${temporalVersion}`], {
        env,
        signal: options.signal,
      });
      if (code !== 0) return `go install failed: ${output.trimEnd().split("\n").at(-1) ?? ""}`;
      options.onProgress?.(`built temporal in ${elapsed()}`);
      return undefined;
    } finally {
      clearInterval(ticks);
    }
  });
}

/**
 * Lets `make` put a program `temporal` into a directory of its own, and moves it into the cache when it runs. Processes that
 * do so at once each have their directory, and rename(2) makes the last one win whole.
 */
async function viaDraft(
  { env }: FindOptions,
  make: (draft: string) => Promise<string | undefined>,
): ReturnType<Rung["find"]> {
  const target = cachedTemporal(env);
  mkdirSync(dirname(target), { recursive: true });
  const draft = mkdtempSync(join(dirname(target), ".making-"));
  try {
    const failure = await make(draft);
    if (failure !== undefined) return { skipped: failure };
    if (!(await runs(join(draft, "temporal"), env))) return { skipped: "what was made does not run" };
    renameSync(join(draft, "temporal"), target);
    return { path: target };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

async function runs(path: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const signal = AbortSignal.timeout(15_000);
  const result = await runProgram(path, ["--version"], { env, signal }).catch(() => undefined);
  return result?.code === 0 && result.output.startsWith("temporal version");
}

function watchGrowth(directory: string, stallMs: number, onStall: () => void): NodeJS.Timeout {
  let size = 0;
  let grew = performance.now();
  return setInterval(() => {
    const now = sizeOf(directory);
    if (now !== size) grew = performance.now();
    size = now;
    if (performance.now() - grew > stallMs) onStall();
  }, 500);
}

function sizeOf(directory: string): number {
  if (!existsSync(directory)) return 0;
  return readdirSync(directory).reduce(
    (sum, file) => sum + (statSync(join(directory, file), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
