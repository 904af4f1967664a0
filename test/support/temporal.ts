import { randomBytes } from "node:crypto";
import { inject } from "vitest";
// The type of `inject("temporal")` is declared there.
import type {} from "./global-temporal.ts";

/** `host:port` and namespace of the run's Temporal server, which every test file shares. */
export function testTemporal(): { readonly address: string; readonly namespace: string } {
  return inject("temporal");
}

/** A task queue that no other test polls. Workers of different tests then never take each other's tasks. */
export function freshTaskQueue(purpose = "test"): string {
  return `${purpose}-${randomBytes(6).toString("hex")}`;
}
