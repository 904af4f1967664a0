import { policyLoads, reviewerLoads } from "../../approvals/index.ts";
import { inSnapshot } from "../../store/index.ts";
import { candidates } from "../fatigue.ts";
import type { Candidate } from "../fatigue.ts";
import type { Handlers } from "../handler.ts";
import { noteAuditorsRead } from "../note-read.ts";

const defaultSinceMs = 30 * 86_400_000;
const mostReviewers = 200;

export const reportHandlers: Handlers<"reportApprovals"> = {
  async reportApprovals({ query }, { services, caller }) {
    const { team, samples, limit } = query;
    const now = services.now();
    const since = query.since === undefined ? new Date(now.getTime() - defaultSinceMs) : new Date(query.since);
    const offset = Number(query.cursor ?? 0);
    const scope = { team, since, now };
    const report = await inSnapshot(services.pool, async (tx) => {
      const rows = await policyLoads(tx, scope, { offset, limit: limit + 1 });
      const first = offset === 0;
      return {
        team,
        since: since.toISOString(),
        policies: rows.slice(0, limit),
        next: rows.length > limit ? String(offset + limit) : null,
        reviewers: first ? [...(await reviewerLoads(tx, scope, mostReviewers))] : [],
        candidates: first ? (await candidates(tx, services.keys, scope, samples)).map(viewOfCandidate) : [],
      };
    });
    // What a proposal compares with are arguments of the calls.
    if (report.candidates.some(({ narrowing }) => narrowing.status === "proposed"))
      await noteAuditorsRead(services, { team }, "report", caller());
    return report;
  },
};

function viewOfCandidate({ policy, tool, approved, narrowing }: Candidate) {
  return {
    policy,
    tool,
    approved,
    narrowing: narrowing.status === "none" ? narrowing : { ...narrowing, open: [...narrowing.open] },
  };
}
