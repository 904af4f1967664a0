import { toolsOf } from "./dojo.ts";
import { loadMetadata, loadSuite, metadataPathOf, suitePaths } from "./suite.ts";

const suites = await Promise.all(
  (await suitePaths()).map(async (path) => {
    const suite = await loadSuite(path);
    return toolsOf(suite, await loadMetadata(suite, metadataPathOf(path)));
  }),
);

/** All tools of the suites, no two of which have one name: names, descriptions and parameters are the suites'. */
export const tools = suites.flat();
