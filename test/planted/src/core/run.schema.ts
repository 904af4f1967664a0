export const runSchema = {};
