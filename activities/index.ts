export { answeredActivities } from "./answered.ts";
export type { CallAnswerer } from "./answered.ts";
export { lifecycleActivities } from "./lifecycle.ts";
export { modelActivity } from "./model.ts";
export { retrievalActivity } from "./retrieval.ts";
export { toolActivity } from "./tool.ts";
