import { readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";

import { CodedError } from "../core/errors.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Callable } from "../core/retrieval.ts";
import { canonicalText, sha256 } from "../store/canonical.ts";
import { clip } from "./clip.ts";
import { looksLikeTool, toolProblem } from "./define-tool.ts";
import type { Tool } from "./define-tool.ts";
import { importPinned } from "./import-pinned.ts";

export class ToolLoadError extends CodedError<
  | "module_outside_roots"
  | "module_missing"
  | "module_changed"
  | "module_broken"
  | "tool_missing"
  | "tool_duplicate"
  | "tool_invalid"
  | "tool_differs"
> {}

/**
 * Loads the tools of a module of function tools, with their definitions as a release pins them. `module` is resolved below one of
 * `roots`, the folders whose code this process is willing to run: registering an agent must not be a way to run any file.
 * The file's bytes are pinned; what it imports is not.
 */
export async function loadToolModule(
  module: string,
  roots: readonly string[],
): Promise<readonly { readonly tool: Tool; readonly definition: Callable }[]> {
  const [file] = await locate(module, roots);
  const implementation = { kind: "function", module: file.name, sha256: file.digest } as const;
  const tools = await toolsOf(module, file);
  return tools.map((tool) => ({ tool, definition: { ...tool.definition, implementation } }));
}

/** The code of a pinned function tool. Throws `module_changed` where no file of that name is the one that the release pins. */
export async function loadFunctionTool(definition: Callable, roots: readonly string[]): Promise<Tool> {
  if (definition.implementation.kind !== "function") {
    throw new ToolLoadError("tool_missing", `tool \`${definition.name}\` is not a function tool`);
  }
  const { module, sha256: pinned } = definition.implementation;
  const file = (await locate(module, roots)).find(({ digest }) => digest === pinned);
  if (file === undefined) throw changed(module);
  const tool = (await toolsOf(module, file)).find((candidate) => candidate.definition.name === definition.name);
  if (tool === undefined) throw new ToolLoadError("tool_missing", `\`${module}\` has no tool \`${definition.name}\``);
  assertSame(definition, tool);
  return tool;
}

/** Policies go by what the release says of a tool: whoever registers must not be able to call a payment a read. */
function assertSame(definition: Callable, tool: Tool): void {
  const { name, implementation } = definition;
  const own = { ...tool.definition, implementation };
  if (canonicalText(definition as unknown as Json) === canonicalText(own as unknown as Json)) return;
  throw new ToolLoadError("tool_differs", `the release says other things of tool \`${name}\` than its code does`, {
    hint: "register the agent from its files: the definition comes from the code",
  });
}

type ModuleFile = { readonly path: string; readonly name: string; readonly digest: Digest };

/** The files that `module` names, at most one in each root, in the roots' order. */
async function locate(module: string, roots: readonly string[]): Promise<readonly [ModuleFile, ...ModuleFile[]]> {
  const found: ModuleFile[] = [];
  let outside = false;
  for (const candidate of roots) {
    const root = await realpath(candidate).catch(() => undefined);
    if (root === undefined) continue;
    // The real path, so that a link cannot lead out of the root.
    const path = await realpath(isAbsolute(module) ? module : resolve(root, module)).catch(() => undefined);
    if (path === undefined) continue;
    const inside = relative(root, path);
    if (inside === ".." || inside.startsWith(`..${sep}`) || isAbsolute(inside)) outside = true;
    else found.push({ path, name: inside.split(sep).join("/"), digest: await digestOfFile(module, path) });
  }
  const [first, ...others] = found;
  if (first !== undefined) return [first, ...others];
  if (!outside) throw new ToolLoadError("module_missing", `no file \`${clip(module, 200)}\` below ${named(roots)}`);
  throw new ToolLoadError(
    "module_outside_roots",
    `\`${clip(module, 200)}\` is outside the folders that this worker runs tools from`,
    { hint: "move it below one of them, or name its folder in COUNTERSIGN_TOOL_ROOTS" },
  );
}

function named(roots: readonly string[]): string {
  return roots.length === 0 ? "any folder: no tool roots are set" : roots.map((root) => `\`${root}\``).join(", ");
}

async function digestOfFile(module: string, path: string): Promise<Digest> {
  try {
    // Before it is opened: a pipe would be waited for.
    if ((await stat(path)).isFile()) return sha256(await readFile(path));
  } catch (cause) {
    throw new ToolLoadError("module_missing", `\`${module}\` cannot be read`, { cause });
  }
  throw new ToolLoadError("module_missing", `\`${module}\` is not a file`, { hint: "name the file, not its folder" });
}

async function toolsOf(module: string, file: ModuleFile): Promise<readonly Tool[]> {
  const imported = await importPinned(file.path, file.digest);
  switch (imported.status) {
    case "imported":
      return toolsIn(module, imported.exports);
    case "changed":
      throw changed(module);
    case "broken":
      throw new ToolLoadError("module_broken", `\`${module}\` cannot be loaded: ${reasonOf(imported.cause)}`, {
        cause: imported.cause,
      });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? clip(cause.message.split("\n")[0] ?? "", 200) : "unknown error";
}

function changed(module: string): ToolLoadError {
  return new ToolLoadError("module_changed", `\`${module}\` is not the file that the release pins`, {
    hint: "register the agent again to make a release with the new code, or bring the old file back",
  });
}

/** Exported one by one, in a list, or by an agent. One tool may be exported twice; two tools cannot have one name. */
function toolsIn(module: string, exports: object): readonly Tool[] {
  const found = new Set(Object.values(exports).flatMap(candidatesIn).filter(looksLikeTool));
  const tools = new Map<string, Tool>();
  for (const value of found) {
    const problem = toolProblem(value);
    if (problem !== undefined)
      throw new ToolLoadError("tool_invalid", `\`${module}\` has a malformed tool: ${problem}`);
    const tool = value as Tool;
    const { name } = tool.definition;
    if (tools.has(name)) throw new ToolLoadError("tool_duplicate", `\`${module}\` has two tools named \`${name}\``);
    tools.set(name, tool);
  }
  return [...tools.values()];
}

function candidatesIn(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value !== "object" || value === null) return [];
  return "tools" in value && Array.isArray(value.tools) ? [value, ...(value.tools as unknown[])] : [value];
}
