export type { LedgerAccess, ServerOptions } from "./dependencies.ts";
export { keyAdded, keyProposed, policyActivated } from "./ledger-events.ts";
export { createServer } from "./server.ts";
export type { Server, ServerAddress } from "./server.ts";
