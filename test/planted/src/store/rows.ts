// breaks no-cycles
import { registry } from "./registry.ts";

export const rows = () => registry;
