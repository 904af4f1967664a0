import { toolsOf } from "./dojo.ts";
import { loadMetadata, loadSuite, metadataPathOf, suitePath } from "./suite.ts";

const path = suitePath();
const suite = await loadSuite(path);

/** All tools of the suite: names, descriptions and parameters are the suite's. */
export const tools = toolsOf(suite, await loadMetadata(suite, metadataPathOf(path)));
