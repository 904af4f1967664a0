import { z } from "zod";

const part = z.enum(["ok", "unreachable"]);
/** `degraded` is answered with 503. */
export const health = z
  .object({ status: z.enum(["ok", "degraded"]), postgres: part, temporal: part })
  .meta({ id: "Health" });
export type Health = z.output<typeof health>;

export const whoAmI = z.object({
  id: z.string(),
  displayName: z.string(),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
});
