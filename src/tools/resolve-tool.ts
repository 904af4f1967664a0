import { LRUCache } from "lru-cache";

import type { Callable } from "../core/retrieval.ts";
import type { Tool } from "./define-tool.ts";
import { loadFunctionTool } from "./function-tool.ts";
import { httpTool } from "./http-tool.ts";

// Code that was loaded under its digest is the pinned code, whatever becomes of the file.
const loaded = new LRUCache<string, Tool>({ max: 1_000 });

/** The code behind a pinned tool. Throws `ToolLoadError` where it is not here, or not what the release pins. */
export async function resolveTool(definition: Callable, roots: readonly string[]): Promise<Tool> {
  const { implementation, name } = definition;
  switch (implementation.kind) {
    case "function": {
      const key = JSON.stringify([implementation.module, implementation.sha256, name, roots]);
      const tool = loaded.get(key) ?? (await loadFunctionTool(definition, roots));
      loaded.set(key, tool);
      return tool;
    }
    case "http":
      return httpTool(definition);
  }
}
