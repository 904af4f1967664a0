export { fits, parseArguments } from "./arguments.ts";
export type { Parsed } from "./arguments.ts";
export { defineSource } from "./define-source.ts";
export { defineTool, isTool, ToolError, ToolResultError } from "./define-tool.ts";
export type { Tool, ToolContext } from "./define-tool.ts";
export { retrieved } from "./documents.ts";
export type { SourceDocument } from "./documents.ts";
export { loadToolModule, ToolLoadError } from "./function-tool.ts";
export { resolveTool } from "./resolve-tool.ts";
