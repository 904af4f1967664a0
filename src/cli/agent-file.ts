import { readFile } from "node:fs/promises";
import { dirname, extname, isAbsolute, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import type { ReleaseDocument, ToolDefinition } from "../core/release.ts";
import type { RetrievalSource } from "../core/retrieval.ts";
import { parseManifest, releaseOf } from "../registry/index.ts";
import type { AgentInCode, AgentManifest, ManifestSource, ManifestTool } from "../registry/index.ts";
import { loadToolModule } from "../tools/index.ts";
import { CliError } from "./cli-error.ts";

/**
 * The release document of an agent that is written in a file: a manifest (`.yaml`), or code that exports what `defineAgent` makes
 * (`.ts`, `.js`). Tools are loaded from modules below `roots`, and pinned by their bytes.
 */
export async function readAgentFile(file: string, roots: readonly string[]): Promise<ReleaseDocument> {
  const path = resolve(file);
  switch (extname(path)) {
    case ".yaml":
    case ".yml":
    case ".json":
      return fromManifest(file, path, roots);
    case ".ts":
    case ".mts":
    case ".js":
    case ".mjs":
      return fromCode(file, path, roots);
    default:
      throw new CliError("usage", `\`${file}\` is neither a manifest nor code`, {
        hint: "give a .yaml file, or a .ts file with `defineAgent`",
      });
  }
}

async function fromManifest(file: string, path: string, roots: readonly string[]): Promise<ReleaseDocument> {
  const manifest = parseManifest(await readText(file, path), file);
  const folder = dirname(path);
  const tools = await Promise.all(manifest.tools.map((tool) => definitionsOf(tool, folder, roots)));
  const sources = await Promise.all(manifest.retrieval.map((source) => sourcesOf(source, folder, roots)));
  return releaseOf(manifest, await promptOf(manifest, folder), tools.flat(), undefined, sources.flat()).document;
}

async function definitionsOf(
  tool: ManifestTool,
  folder: string,
  roots: readonly string[],
): Promise<readonly ToolDefinition[]> {
  if (!("module" in tool)) return [httpDefinition(tool)];
  const { tools } = await loadBelow(resolve(folder, tool.module), roots);
  return named("tool", tool, tools);
}

async function sourcesOf(
  source: ManifestSource,
  folder: string,
  roots: readonly string[],
): Promise<readonly RetrievalSource[]> {
  if ("module" in source) {
    const { sources } = await loadBelow(resolve(folder, source.module), roots);
    return named("source", source, sources);
  }
  const { timeout, http, ...facts } = source;
  return [{ ...facts, timeoutMs: timeout, implementation: { kind: "http", ...http } }];
}

/** Those of a module that a manifest names; all where it names none. */
function named<Item extends { readonly name: string }>(
  what: string,
  { module, names }: { readonly module: string; readonly names?: readonly string[] | undefined },
  loaded: readonly Item[],
): readonly Item[] {
  if (names === undefined) return loaded;
  return names.map((name) => {
    const found = loaded.find((item) => item.name === name);
    if (found !== undefined) return found;
    throw new CliError("manifest_unusable", `\`${module}\` has no ${what} \`${name}\``, {
      hint: `it has ${loaded.map((item) => `\`${item.name}\``).join(", ") || "none"}`,
    });
  });
}

function httpDefinition(tool: Extract<ManifestTool, { http: unknown }>): ToolDefinition {
  const { name, description, parameters, effect, groups, short, timeout, http } = tool;
  return {
    name,
    description,
    parameters,
    effect,
    groups,
    idempotency: tool.idempotency ?? (effect === "read" ? "key" : "none"),
    short,
    timeoutMs: timeout,
    ...(tool.destinations === undefined ? {} : { destinations: tool.destinations }),
    ...(tool.results === undefined ? {} : { results: tool.results }),
    ...(tool.render === undefined ? {} : { render: tool.render }),
    implementation: { kind: "http", method: http.method, url: http.url },
  };
}

async function fromCode(file: string, path: string, roots: readonly string[]): Promise<ReleaseDocument> {
  await readText(file, path);
  // First the tools: this refuses a file outside the roots before anything of it is run.
  const loaded = await loadBelow(path, roots);
  const exports = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  const agents = [...new Set(Object.values(exports).filter(isAgent))];
  const [agent] = agents;
  if (agent === undefined || agents.length > 1) {
    throw new CliError("manifest_unusable", `\`${file}\` exports ${agents.length} agents, expected one`, {
      hint: "export what `defineAgent({ … })` returns",
    });
  }
  const prompt = await promptOf(agent, dirname(path));
  const tools = ofAgent(agent.tools, loaded.tools);
  return releaseOf(agent, prompt, tools, undefined, ofAgent(agent.retrieval, loaded.sources)).document;
}

function ofAgent<Item extends { readonly name: string }>(
  wanted: AgentInCode["tools"],
  loaded: readonly Item[],
): readonly Item[] {
  return wanted.flatMap(({ definition }) => loaded.find((item) => item.name === definition.name) ?? []);
}

function isAgent(value: unknown): value is AgentInCode {
  return (
    typeof value === "object" &&
    value !== null &&
    "team" in value &&
    "limits" in value &&
    "model" in value &&
    "tools" in value
  );
}

/** What a module defines below one of `roots`: the one that it is below is asked alone. */
async function loadBelow(
  module: string,
  roots: readonly string[],
): Promise<{ readonly tools: readonly ToolDefinition[]; readonly sources: readonly RetrievalSource[] }> {
  const home = roots.find((root) => {
    const inside = relative(root, module);
    return !inside.startsWith("..") && !isAbsolute(inside);
  });
  const loaded = await loadToolModule(module, home === undefined ? roots : [home]);
  const definitions = loaded.map(({ definition }) => definition);
  return {
    tools: definitions.filter(({ source }) => source === undefined),
    sources: definitions.flatMap(({ source, implementation }) =>
      source === undefined ? [] : { ...source, implementation },
    ),
  };
}

async function promptOf(agent: AgentManifest | AgentInCode, folder: string): Promise<string> {
  if (agent.prompt !== undefined) return agent.prompt;
  const file = agent.promptFile ?? "";
  return readText(file, resolve(folder, file));
}

async function readText(file: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `\`${file}\` cannot be read`, { cause, hint: `looked for ${path}` });
  }
}
