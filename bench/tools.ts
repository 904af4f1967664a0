import { z } from "zod";

import { defineTool } from "../src/tools/index.ts";

export const touch = defineTool({
  name: "touch",
  description: "Does nothing, at once.",
  input: z.object({ thing: z.string() }),
  effect: "read",
  short: true,
  execute: ({ thing }) => ({ touched: thing }),
});
