import { rows } from "./rows.ts";

export const registry = () => rows;
