// breaks pure-rooms-use-no-node
// breaks src/core-uses-only-its-packages
// breaks core-has-zod-only-in-schemas
// breaks src/core-imports-only-its-neighbours
import { hostname } from "node:os";
import pg from "pg";
import { rows } from "../store/index.ts";

export const clock = [hostname, pg, rows];
