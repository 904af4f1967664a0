// breaks workflows-never-reach-schemas (reached from workflows/agent.ts)
import { runSchema } from "./run.schema.ts";

export const run = runSchema;
