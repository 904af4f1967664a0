/** What an agent's own code needs: `import { defineTool } from "countersign"`. */
export { defineAgent } from "./registry/index.ts";
export { defineSource, defineTool, ToolError } from "./tools/index.ts";
export type { SourceDocument, Tool, ToolContext } from "./tools/index.ts";
