import { z } from "zod";

const part = z.enum(["ok", "unreachable"]);
/** `degraded` is answered with 503. */
export const health = z
  .object({
    status: z.enum(["ok", "degraded"]),
    postgres: part,
    temporal: part,
    ledger: z
      .enum(["ok", "stopped"])
      .describe("`stopped`: a log is not signed any more, since it contradicts what was"),
  })
  .meta({ id: "Health" });
export type Health = z.output<typeof health>;

export const whoAmI = z.object({
  id: z.string(),
  displayName: z.string(),
  roles: z.array(z.string()),
  roleTeams: z
    .record(z.string(), z.array(z.string()))
    .describe("for which teams a role is held; one that is not named is held for all"),
  groups: z.array(z.string()),
});
