// breaks workflows-never-reach-io (though only by a type)
import { run } from "../src/core/run.ts";
import type { registry } from "../src/registry/index.ts";

export type Agent = typeof registry;
export const agent = run;
