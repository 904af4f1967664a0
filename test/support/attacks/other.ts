import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { canonicalText } from "../../../src/store/canonical.ts";
import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import { outsider, placeOf } from "./attack.ts";
import type { Attack } from "./attack.ts";

type History = { events: Anything[] };
const history = (d: EvidenceDraft, run: string): string => d.section(run).histories[0]!.file;
const scheduledOf = (events: Anything[], type: string): number =>
  placeOf(events, (e) => e.activityTaskScheduledEventAttributes?.activityType?.name === type);

const isLocalTool = (event: Anything): boolean => {
  const data = event.markerRecordedEventAttributes?.details?.data?.payloads?.[0]?.data;
  return data !== undefined && Buffer.from(data, "base64").toString().includes('"tool"');
};

export const otherAttacks: readonly Attack[] = [
  {
    attack: "an intent whose activity is not in the history",
    base: "withheld",
    code: "intent_without_history",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => events.splice(scheduledOf(events, "model"), 3)),
  },
  {
    attack: "a local activity taken out of the history",
    base: "withheld",
    code: "intent_without_history",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        for (const [place, e] of events.entries()) {
          const data = e.markerRecordedEventAttributes?.details?.data?.payloads?.[0]?.data;
          if (data !== undefined && Buffer.from(data, "base64").toString().includes('"tool"'))
            return events.splice(place, 1);
        }
        throw new Error("no local activity");
      }),
  },
  {
    attack: "the history of another run that did the same",
    base: "withheld",
    code: "history_foreign",
    tamper: (d, w) => d.put(history(d, w.runs.approved), d.text(history(d, w.runs.twin))),
  },
  {
    attack: "the history told to be another execution's",
    base: "withheld",
    code: "history_foreign",
    tamper: (d, w) => {
      d.section(w.runs.approved).histories[0]!.temporalRunId = d.section(w.runs.twin).histories[0]!.temporalRunId;
    },
  },
  {
    attack: "an activity asked for on behalf of another run",
    base: "withheld",
    code: "history_foreign",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        const payload = events[scheduledOf(events, "model")].activityTaskScheduledEventAttributes.input.payloads[0];
        payload.data = Buffer.from(JSON.stringify({ run: w.runs.twin, seq: 0 })).toString("base64");
      }),
  },
  {
    attack: "a step in the history that is not recorded",
    base: "withheld",
    code: "history_without_record",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        const place = scheduledOf(events, "model");
        const more = structuredClone(events[place]);
        more.activityTaskScheduledEventAttributes.input.payloads[0].data = Buffer.from(
          JSON.stringify({ run: w.runs.approved, seq: 99 }),
        ).toString("base64");
        events.splice(place, 0, more);
      }),
  },
  {
    attack: "a time changed in a history",
    base: "withheld",
    code: "seal_differs",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => (events[3].eventTime = "2001-01-01T00:00:00Z")),
  },
  {
    attack: "a local activity in the history that no decision names",
    base: "withheld",
    code: "history_without_record",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        const place = placeOf(events, isLocalTool);
        const more = structuredClone(events[place]);
        const [payload] = more.markerRecordedEventAttributes.details.data.payloads;
        const about = JSON.parse(Buffer.from(payload.data, "base64").toString());
        payload.data = Buffer.from(JSON.stringify({ ...about, activity_id: "77" })).toString("base64");
        events.splice(place, 0, more);
      }),
  },
  {
    attack: "a local activity of another kind than the step that was decided in it",
    base: "withheld",
    code: "intent_without_history",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        const [payload] = events[placeOf(events, isLocalTool)].markerRecordedEventAttributes.details.data.payloads;
        const about = JSON.parse(Buffer.from(payload.data, "base64").toString());
        payload.data = Buffer.from(JSON.stringify({ ...about, activity_type: "retrieval" })).toString("base64");
      }),
  },
  {
    attack: "two steps decided in one activity",
    base: "withheld",
    code: "intent_without_history",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.decisions[2].activity = r.decisions[0].activity)),
  },
  {
    attack: "the first execution of a run left out",
    base: "withheld",
    code: "history_foreign",
    tamper: (d, w) =>
      d.edit(history(d, w.runs.approved), ({ events }: History) => {
        events[0].workflowExecutionStartedEventAttributes.continuedExecutionRunId =
          "01a20a30-b402-7b9a-982c-2d602c37af27";
      }),
  },
  {
    attack: "a history cut off before its end",
    base: "withheld",
    code: "history_cut",
    tamper: (d, w) => d.edit(history(d, w.runs.approved), ({ events }: History) => events.splice(-2)),
  },
  {
    attack: "the in-toto statement changed",
    base: "withheld",
    code: "statement_unsigned",
    tamper: (d, w) =>
      d.edit(d.section(w.runs.approved).statement!, (e) => {
        const s = JSON.parse(Buffer.from(e.payload, "base64").toString());
        s.predicate.closed.status = "failed";
        e.payload = Buffer.from(canonicalText(s)).toString("base64");
      }),
  },
  {
    attack: "the in-toto statement's type changed",
    base: "withheld",
    code: "statement_unsigned",
    tamper: (d, w) => d.edit(d.section(w.runs.approved).statement!, (e) => (e.payloadType = "application/json")),
  },
  {
    attack: "the in-toto statement signed by another key",
    base: "withheld",
    code: "statement_unsigned",
    tamper: (d, w) =>
      d.edit(
        d.section(w.runs.approved).statement!,
        (e) => (e.signatures[0].sig = Buffer.from(outsider().sign(Buffer.from(e.payload))).toString("base64")),
      ),
  },
  {
    attack: "the in-toto statement of another run",
    base: "withheld",
    code: "statement_differs",
    tamper: (d, w) => d.put(d.section(w.runs.approved).statement!, d.text(d.section(w.runs.twin).statement!)),
  },
  {
    attack: "a number changed on the page",
    base: "selected",
    code: "report_differs",
    tamper: (d) => {
      d.keepsReport = true;
      d.put("report.html", d.text("report.html").replaceAll("$60.00", "$10.00"));
    },
  },
  {
    attack: "a script put into the page",
    base: "selected",
    code: "report_differs",
    tamper: (d) => {
      d.keepsReport = true;
      d.put("report.html", d.text("report.html").replace("</main>", "<script>alert(1)</script></main>"));
    },
  },
  {
    attack: "the page made to say that it is of nobody's version",
    base: "selected",
    code: "report_differs",
    tamper: (d) => {
      d.keepsReport = true;
      d.put("report.html", "<h1>VERIFIED</h1>");
    },
  },
  {
    attack: "a page beside the bundle that it does not name",
    base: "withheld",
    code: "page_unlisted",
    tamper: (d) => {
      d.files.delete("report.html");
      delete d.manifest.report;
      d.after.push((root) => writeFileSync(join(root, "report.html"), "<h1>VERIFIED</h1>"));
    },
  },
  {
    attack: "a page among the files that is not the report",
    base: "withheld",
    code: "page_unlisted",
    tamper: (d) => d.put("runs/INDEX.HTM", "<h1>VERIFIED</h1>"),
  },
  {
    attack: "a bundle of no run, where something is required",
    base: "withheld",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["decisions", "histories", "contents"] }),
    tamper: (d) => {
      d.manifest.runs = [];
      d.manifest.contents = "included";
    },
  },
  {
    attack: "a run left out that the auditor asks for",
    base: "withheld",
    code: "required",
    verdict: "incomplete",
    trust: (t, w) => ({ ...t, runs: [w.runs.twin] }),
    tamper: (d, w) => {
      d.manifest.runs = d.manifest.runs.filter(({ run }) => run !== w.runs.twin);
    },
  },
  {
    attack: "contents said to be withheld, where they are required",
    base: "withheld",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["decisions"] }),
    tamper: () => undefined,
  },
  {
    attack: "histories left out, where they are required",
    base: "withheld",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["histories"] }),
    tamper: (d, w) => {
      d.section(w.runs.approved).histories = [];
    },
  },
  {
    attack: "a selection, where whole logs are required",
    base: "selected",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["whole-log"] }),
    tamper: () => undefined,
  },
  {
    attack: "no pinned checkpoint, where one is required",
    base: "whole",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["pinned"] }),
    tamper: () => undefined,
  },
];
