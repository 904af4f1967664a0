import type { Json } from "../../../src/core/json.ts";
import { historyRoot } from "../../../src/ledger/proof/index.ts";
import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import type { GenuineEvidence } from "../genuine-evidence.ts";
import { drop, insider, kind, placeOf } from "./attack.ts";
import type { Attack } from "./attack.ts";

/** The log of the team whose run went on over several executions. */
const office = "office";
const chain = (d: EvidenceDraft, w: GenuineEvidence) => d.section(w.runs.chained).histories;
const sealOf = (w: GenuineEvidence, position: number) => (entry: Anything) =>
  entry.kind === "history.sealed" && entry.facts.run === w.runs.chained && entry.facts.position === position;

/** What is told of an execution's history: that it is lost. */
function lossOf(es: Anything[], w: GenuineEvidence, position: number): Anything {
  const { v, log, at, facts } = es[placeOf(es, sealOf(w, position))];
  const { run, temporalRunId } = facts;
  return { v, kind: "history.lost", log, at, dedupKey: `lost/${position}`, facts: { run, position, temporalRunId } };
}
const leaveOut = (d: EvidenceDraft, w: GenuineEvidence, position: number) => d.put(chain(d, w)[position]!.file, "null");

const ofChain = (
  code: Attack["code"],
  attack: string,
  tamper: Attack["tamper"],
  verdict: "refuted" | "incomplete" = "refuted",
): Attack => ({ attack, base: "chains", code, verdict, tamper });
/** By who holds the log's key. */
const ofLog = (
  code: Attack["code"],
  attack: string,
  change: (es: Anything[], w: GenuineEvidence, d: EvidenceDraft) => unknown,
  verdict: "refuted" | "incomplete" = "refuted",
): Attack => ofChain(code, attack, (d, w) => d.relog(office, (es) => change(es, w, d), insider(w, office)), verdict);

export const chainAttacks: readonly Attack[] = [
  ofChain("history_foreign", "a history left out of the middle of a chain", (d, w) => chain(d, w).splice(1, 1)),
  ofChain("history_foreign", "the last history of a chain left out", (d, w) => chain(d, w).pop()),
  ofChain("history_foreign", "two histories of a chain swapped", (d, w) => {
    const [first, second] = chain(d, w).splice(0, 2);
    chain(d, w).unshift(second!, first!);
  }),
  ofChain("seal_differs", "two histories of a chain swapped, each under the other's name", (d, w) => {
    const [first, second] = chain(d, w);
    [first!.file, second!.file] = [second!.file, first!.file];
  }),
  ofChain("history_foreign", "a history of a chain twice", (d, w) => chain(d, w).splice(1, 0, chain(d, w)[0]!)),
  ofChain("history_foreign", "another run's history at the end of a chain", (d, w) =>
    chain(d, w).push(d.section(w.runs.failed).histories[0]!),
  ),
  ofLog("seal_differs", "two histories of a chain sealed in each other's place", (es, w) => {
    const [first, second] = [es[placeOf(es, sealOf(w, 0))], es[placeOf(es, sealOf(w, 1))]];
    [first.facts.position, second.facts.position] = [1, 0];
  }),
  ofLog("intent_without_history", "a step told to have been made in another execution of its run", (es, w, d) => {
    const [first, second] = chain(d, w);
    const moved = (activity: string) => activity.replace(first!.temporalRunId, second!.temporalRunId);
    const entry = es[placeOf(es, kind("step.decided", w.runs.chained))];
    entry.facts.activity = moved(entry.facts.activity);
    d.edit(d.record(w.runs.chained), (r) => (r.decisions[0].activity = moved(r.decisions[0].activity)));
  }),
  ofLog("not_sealed", "the seal of one history of a chain left out", (es, w) => drop(es, sealOf(w, 1)), "incomplete"),
  ofChain("seal_differs", "a history that was sealed, told to be lost", (d, w) => leaveOut(d, w, 0)),
  ofLog("loss_unfounded", "the same, with an entry that says so", (es, w, d) => {
    es.push(lossOf(es, w, 0));
    leaveOut(d, w, 0);
  }),
  ofLog("loss_unfounded", "a history told to be lost that is here", (es, w) => {
    const loss = lossOf(es, w, 1);
    es[placeOf(es, sealOf(w, 1))] = loss;
  }),
  ofLog("loss_unfounded", "a loss of an execution that the run never had", (es, w) => {
    const loss = lossOf(es, w, 1);
    Object.assign(loss.facts, { position: 7, temporalRunId: "0".repeat(36) });
    es.push(loss);
  }),
  ofLog(
    "history_lost",
    "a history and its seal taken away, and told to be lost",
    (es, w, d) => {
      es[placeOf(es, sealOf(w, 0))] = lossOf(es, w, 0);
      leaveOut(d, w, 0);
    },
    "incomplete",
  ),
  ofLog(
    "history_lost",
    "a history and its seal taken away, of which nothing is told",
    (es, w, d) => {
      drop(es, sealOf(w, 0));
      leaveOut(d, w, 0);
    },
    "incomplete",
  ),
  ofLog(
    "history_without_record",
    "a step that is in no record, while another history is told to be lost",
    (es, w, d) => {
      es[placeOf(es, sealOf(w, 0))] = lossOf(es, w, 0);
      leaveOut(d, w, 0);
      // Sealed anew, as who holds the key can.
      const { file } = chain(d, w)[1]!;
      d.edit(file, ({ events }: { events: Anything[] }) => {
        const asked = events.findIndex((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === "model");
        const more = structuredClone(events[asked]);
        const input = { run: w.runs.chained, seq: 999 };
        more.activityTaskScheduledEventAttributes.activityId = "999";
        more.activityTaskScheduledEventAttributes.input.payloads = [
          { data: Buffer.from(JSON.stringify(input)).toString("base64"), metadata: { encoding: btoa("json/plain") } },
        ];
        events.splice(asked, 0, more);
      });
      const { events } = d.json(file) as { events: Json[] };
      Object.assign(es[placeOf(es, sealOf(w, 1))].facts, { events: events.length, root: historyRoot(events) });
    },
  ),
  ofLog(
    "intent_without_history",
    "a decision without its activity, while another history is told to be lost",
    (es, w, d) => {
      es[placeOf(es, sealOf(w, 0))] = lossOf(es, w, 0);
      leaveOut(d, w, 0);
      const { temporalRunId } = chain(d, w)[1]!;
      const at = es.findIndex(
        (e) => kind("step.decided", w.runs.chained)(e) && e.facts.activity.startsWith(temporalRunId),
      );
      const told = `${temporalRunId}/999`;
      const { seq, n } = es[at].facts;
      es[at].facts.activity = told;
      d.edit(d.record(w.runs.chained), (r) => {
        r.decisions.find((one: Anything) => one.seq === seq && one.n === n).activity = told;
      });
    },
  ),
  ofLog("end_differs", "a failed run told to have been completed, everywhere", (es, w, d) => {
    const { facts } = es[placeOf(es, kind("run.closed", w.runs.failed))];
    facts.status = "completed";
    delete facts.failure;
    d.edit(d.record(w.runs.failed), (r) => Object.assign(r.run, { status: "completed", failure: null }));
  }),
  ofLog("end_differs", "a run's end left out, whose history has it", (es, w, d) => {
    drop(es, kind("run.closed", w.runs.failed));
    delete d.section(w.runs.failed).statement;
    d.edit(d.record(w.runs.failed), (r) => Object.assign(r.run, { closedAt: null, status: "running", failure: null }));
  }),
];
