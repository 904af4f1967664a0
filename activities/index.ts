export { lifecycleActivities } from "./lifecycle.ts";
export { modelActivity } from "./model.ts";
export { toolActivity } from "./tool.ts";
