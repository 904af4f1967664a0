import { enableCompileCache } from "node:module";

import { cacheFolder } from "../dev/cache-folder.ts";

// Before anything else is loaded: what was compiled once takes half the time to start. Where it cannot be written, Node does without.
enableCompileCache(cacheFolder(process.env, "compiled"));
const { runCommandLine } = await import("./command-line.ts");
process.exitCode = await runCommandLine(process.argv);
