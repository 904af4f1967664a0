import { ApiError } from "../../api/index.ts";
import type { RequestOf } from "../../api/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { freeze, freezesInForce, liftFreeze, targetExists, teamsTouched } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";
import { freezeChanged } from "../ledger-events.ts";
import { viewOfFreeze } from "../views.ts";

type Body = RequestOf<"freeze">["body"];

export const freezeHandlers: Handlers<"freeze" | "liftFreeze" | "listFreezes"> = {
  async freeze({ body }, { services, caller }) {
    return change(services, body, caller().id, true);
  },

  async liftFreeze({ body }, { services, caller }) {
    return change(services, body, caller().id, false);
  },

  async listFreezes({ query: { team } }, { services, caller }) {
    return { freezes: (await freezesInForce(services.pool, team ?? caller().teams)).map(viewOfFreeze) };
  },
};

/** A misspelt target would be believed to be frozen. */
async function change(services: Services, body: Body, by: string, frozen: boolean): Promise<{ changed: boolean }> {
  const now = services.now();
  return inTransaction(services.pool, async (tx) => {
    if (frozen && (body.team ?? body.tool) !== undefined && !(await targetExists(tx, body))) {
      throw new ApiError("agent_not_found", "no release has such a team, agent or tool", {
        hint: "see `countersign agent list`",
      });
    }
    const event = await (frozen ? freeze : liftFreeze)(tx, { ...body, by, now });
    if (event === undefined) return { changed: false };
    const teams = await teamsTouched(tx, body.team);
    await appendToOutbox(
      tx,
      teams.map((team) => freezeChanged(team, body, event, frozen, by, now)),
    );
    return { changed: true };
  });
}
