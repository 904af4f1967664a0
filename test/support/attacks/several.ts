import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import type { GenuineEvidence, RunName } from "../genuine-evidence.ts";
import { drop, far, insider, kind, long_ago, ofStep, people, placeOf, shop, signed } from "./attack.ts";
import type { Attack } from "./attack.ts";

const office = "office";
const of = (code: Attack["code"], attack: string, tamper: Attack["tamper"]): Attack => ({
  attack,
  base: "several",
  code,
  tamper,
});
/** By who holds the key of a log. */
const ofLog = (
  code: Attack["code"],
  attack: string,
  change: (es: Anything[], w: GenuineEvidence, d: EvidenceDraft) => unknown,
  log = shop,
): Attack => of(code, attack, (d, w) => d.relog(log, (es) => change(es, w, d), insider(w, log)));
const ofRecord = (code: Attack["code"], run: RunName, attack: string, change: (record: Anything) => unknown): Attack =>
  of(code, attack, (d, w) => d.edit(d.record(w.runs[run]), change));

const delegated = (es: Anything[]) => es[placeOf(es, (e) => e.kind === "delegation.granted")];
const terms = (record: Anything) => signed(record).capacity.delegation;
const isErasure = (entry: Anything) => entry.kind === "payload.erased";

const teams: readonly Attack[] = [
  of("run_missing", "another team's log given for a run", (d, w) => (d.section(w.runs.approved).log = office)),
  of("run_missing", "a team's log left out", (d) =>
    d.manifest.logs.splice(
      d.manifest.logs.findIndex(({ log }) => log === office),
      1,
    ),
  ),
  of("entry_malformed", "the leaves of two teams' logs swapped", (d) => {
    const [a, b] = [d.log(shop), d.log(office)];
    [a.leaves, b.leaves] = [b.leaves, a.leaves];
  }),
  of("signature_missing", "the checkpoints of two teams' logs swapped", (d) => {
    const [a, b] = [d.log(shop), d.log(office)];
    [a.checkpoint, b.checkpoint] = [b.checkpoint, a.checkpoint];
  }),
  of("checkpoint_malformed", "a team's log under another's name", (d) => (d.log(office).origin = d.log(shop).origin)),
  of("record_differs", "a run's record told to be of another team", (d, w) =>
    d.edit(d.record(w.runs.approved), (r) => (r.run.team = office)),
  ),
  of("approval_invalid", "a whole run moved into another team's log, by who holds both keys", (d, w) => {
    const run = w.runs.approved;
    let moved: Anything[] = [];
    const isOwn = (e: Anything) => e.run?.id === run || e.facts.run === run;
    d.relog(
      shop,
      (es) => {
        moved = es.filter(isOwn);
        es.splice(0, es.length, ...es.filter((e) => !isOwn(e)));
      },
      insider(w),
    );
    d.section(run).log = office;
    d.edit(d.record(run), (r) => (r.run.team = office));
    d.relog(office, (es) => es.push(...moved.map((e) => ({ ...e, log: office }))), insider(w, office));
  }),
  of("entry_malformed", "an entry of one team in another's log", (d, w) => {
    const entry = JSON.parse(d.leaves(shop)[0]!) as Anything;
    d.relog(office, (es) => es.push(entry), insider(w, office));
  }),
  of("policy_not_in_force", "policy sets put in force in another team's log instead", (d, w) => {
    const isActivation = (e: Anything) => e.kind === "policy.activated";
    const moved: Anything[] = [];
    d.relog(
      shop,
      (es) => {
        moved.push(...es.filter(isActivation).map((e, n) => ({ ...e, log: office, dedupKey: `moved/${n}` })));
        es.splice(0, es.length, ...es.filter((e) => !isActivation(e)));
      },
      insider(w),
    );
    d.relog(office, (es) => es.push(...moved), insider(w, office));
  }),
];

const erasures: readonly Attack[] = [
  ofLog("content_missing", "contents that were erased, without the entry that says so", (es) => drop(es, isErasure)),
  ofLog("content_missing", "contents that are missing, with the erasure of another's", (es) => {
    es[placeOf(es, isErasure)].facts.dataKey = "dk_00000000000000000000000000";
  }),
  of("content_missing", "the entry of an erasure in another team's log", (d, w) => {
    let erased: Anything;
    d.relog(shop, (es) => ([erased] = drop(es, isErasure)), insider(w));
    d.relog(office, (es) => es.push({ ...erased, log: office }), insider(w, office));
  }),
  ofRecord(
    "content_missing",
    "erased",
    "a salt made up for contents that were erased",
    (r) => (r.salt = "0".repeat(64)),
  ),
  of("content_missing", "a salt of another run's for contents that were erased", (d, w) => {
    const { salt } = d.json(d.record(w.runs.approved)) as { salt: string };
    d.edit(d.record(w.runs.erased), (r) => (r.salt = salt));
  }),
  of("record_differs", "the data key of a run that was erased told of one that was not, its salt left out", (d, w) => {
    const { dataKey } = (d.json(d.record(w.runs.erased)) as Anything).run;
    d.edit(d.record(w.runs.approved), (r) => {
      r.run.dataKey = dataKey;
      delete r.salt;
    });
  }),
  ofRecord(
    "record_differs",
    "approved",
    "a run told to be under a data key of its own",
    (r) => (r.run.dataKey = "dk_1"),
  ),
  of("report_differs", "ERASED shown for contents that are there", (d) => {
    const page = d.text("report.html");
    d.keepsReport = true;
    d.put("report.html", page.replace(/<pre[^]*?<\/pre>|<td>[^<]{20,}<\/td>/, "<td>ERASED</td>"));
    if (d.text("report.html") === page) throw new Error("nothing was shown");
  }),
];

const delegations: readonly Attack[] = [
  ofLog(
    "delegation_unfounded",
    "a decision for somebody else without their delegation",
    (es) => drop(es, (e) => e.kind === "delegation.granted"),
    people,
  ),
  ofLog("delegation_unfounded", "a delegation for another team", (es) => (delegated(es).facts.team = office), people),
  ofLog("delegation_unfounded", "a delegation up to less", (es) => (delegated(es).facts.maxAmount = 1), people),
  ofLog("delegation_unfounded", "a delegation by another", (es) => (delegated(es).facts.delegator = "eve"), people),
  ofLog(
    "delegation_unfounded",
    "a delegation granted afterwards",
    (es) => es.push({ ...drop(es, (e) => e.kind === "delegation.granted")[0], at: far }),
    people,
  ),
  ofLog(
    "delegation_unfounded",
    "a delegation ended before it was used",
    (es) => (es[placeOf(es, (e) => e.kind === "delegation.revoked")].at = long_ago),
    people,
  ),
  ofRecord("record_differs", "delegated", "a delegation told to be longer", (r) => (terms(r).until = far)),
  ofRecord("record_differs", "delegated", "a delegation told to be another's", (r) => (terms(r).delegator = "eve")),
  ofRecord(
    "record_differs",
    "delegated",
    "a delegate's decision told to be their own",
    (r) => delete signed(r).capacity.delegation,
  ),
];

const edits: readonly Attack[] = [
  ofLog("decision_differs", "what was asked first made, and not what it was changed to, everywhere", (es, w, d) => {
    const run = w.runs.edited;
    const at = es.findIndex((e) => kind("step.decided", run)(e) && e.facts.edit !== undefined);
    const { seq, n } = es[at].facts;
    const { action, arguments: args } = es[placeOf(es, ofStep("step.decided", run, seq))].facts;
    for (const e of es.filter((one) => one.run?.id === run && one.facts.seq === seq))
      if (e.kind === "step.decided" || e.kind === "step.intent") {
        delete e.facts.edit;
        e.facts.action = action;
        if (e.facts.arguments !== undefined) e.facts.arguments = args;
      }
    d.edit(d.record(run), (r) => {
      Object.assign(r.steps[seq], { action, arguments: args });
      r.decisions.find((one: Anything) => one.seq === seq && one.n === n).edit = null;
    });
  }),
  ofRecord("record_differs", "edited", "a change of a call left out", (r) => delete r.edits),
  ofRecord(
    "record_differs",
    "edited",
    "a change of a call told to be somebody else's",
    (r) => (r.edits[0].reviewer = "eve"),
  ),
  ofRecord("record_differs", "edited", "a change told to be by fewer", (r) => (r.edits[0].persons = [])),
  ofRecord(
    "record_differs",
    "edited",
    "other arguments told to be the change",
    (r) => (r.edits[0].arguments = "0".repeat(64)),
  ),
  ofRecord("approval_invalid", "edited", "what was signed of a change altered", (r) => {
    const [edit] = r.edits;
    edit.signature = `${edit.signature.startsWith("A") ? "B" : "A"}${edit.signature.slice(1)}`;
  }),
  ofLog("approval_out_of_order", "a change of a call after it was approved", (es, w) => {
    const edited = es[placeOf(es, kind("approval.edited", w.runs.edited))];
    const at = placeOf(es, kind("approval.edited", w.runs.edited));
    const { approval, seq } = edited.facts;
    const consumed = {
      ...structuredClone(edited),
      kind: "approval.expired",
      dedupKey: "early",
      facts: { approval, seq },
    };
    es.splice(at, 0, consumed);
  }),
];

const ended: readonly Attack[] = [
  ofLog("end_differs", "a cancelled run told to have been completed, everywhere", (es, w, d) => {
    es[placeOf(es, kind("run.closed", w.runs.cancelled))].facts.status = "completed";
    d.edit(d.record(w.runs.cancelled), (r) => (r.run.status = "completed"));
  }),
  ofRecord("record_differs", "failed", "a failed run told to have been completed", (r) => (r.run.status = "completed")),
  ofRecord("record_differs", "failed", "a failed run told to have failed otherwise", (r) => (r.run.failure.code = "x")),
  ofRecord("record_differs", "cancelled", "a cancelled run told to be under way", (r) => (r.run.closedAt = null)),
  of("seal_differs", "the wait of a frozen call taken out of its history", (d, w) =>
    d.edit(d.section(w.runs.frozen).histories[0]!.file, ({ events }: { events: Anything[] }) => {
      const waits = (e: Anything) => e.activityTaskScheduledEventAttributes?.activityType?.name === "awaitThaw";
      drop(events, waits);
    }),
  ),
  of("intent_without_history", "the call of a frozen step taken out of its history", (d, w) => {
    const { decisions, steps } = d.json(d.record(w.runs.frozen)) as Anything;
    const { seq } = steps.find((one: Anything) => one.name === "refund");
    const { activity } = decisions.findLast((one: Anything) => one.seq === seq);
    d.edit(d.section(w.runs.frozen).histories[0]!.file, ({ events }: { events: Anything[] }) =>
      drop(events, (e) => e.activityTaskScheduledEventAttributes?.activityId === activity.split("/")[1]),
    );
  }),
];

export const severalAttacks: readonly Attack[] = [...teams, ...erasures, ...delegations, ...edits, ...ended];
