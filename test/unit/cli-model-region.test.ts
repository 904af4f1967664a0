import { expect, it } from "vitest";

import { modelRegionOf } from "../../src/cli/model-region.ts";

it.each([
  ["the scripted model", undefined, {}, "local"],
  ["a server on this machine", "http://127.0.0.1:8080/v1", {}, "local"],
  ["a server elsewhere, of which nobody said where it is", "https://api.openai.com/v1", {}, "unknown"],
  ["one that is named like this machine", "https://127.0.0.1.evil.example/v1", {}, "unknown"],
  ["no address at all", "nonsense", {}, "unknown"],
  ["a server elsewhere", "https://api.openai.com/v1", { COUNTERSIGN_MODEL_REGION: "eu-west" }, "eu-west"],
  ["a setting of nothing", "https://api.openai.com/v1", { COUNTERSIGN_MODEL_REGION: "" }, "unknown"],
])("the region of %s", (_what, baseUrl, env, region) => expect(modelRegionOf(env, baseUrl)).toBe(region));
