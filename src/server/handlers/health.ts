import { teamsWith } from "../../registry/index.ts";
import type { Handlers } from "../handler.ts";

export const healthHandlers: Handlers<"health" | "whoAmI"> = {
  async health(_request, { services, reply }) {
    const [postgres, temporal] = await Promise.all([
      services.pool.query("select 1").then(
        () => true,
        () => false,
      ),
      services.runs.isReachable(),
    ]);
    if (!postgres || !temporal) reply.code(503);
    return {
      status: postgres && temporal ? "ok" : "degraded",
      postgres: postgres ? "ok" : "unreachable",
      temporal: temporal ? "ok" : "unreachable",
      ledger: (services.ledger.stopped?.().length ?? 0) === 0 ? "ok" : "stopped",
    };
  },

  async whoAmI(_request, { principal }) {
    const { id, displayName, roles, roleTeams = {}, groups } = principal();
    const limits = roles.flatMap((role) => (role in roleTeams ? [[role, [...teamsWith(roleTeams, role)]]] : []));
    return { id, displayName, roles: [...roles], roleTeams: Object.fromEntries(limits), groups: [...groups] };
  },
};
