import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, expect, onTestFinished, test, vi } from "vitest";

import {
  arm,
  armFaults,
  disarm,
  faultKinds,
  faultMark,
  faultMarkText,
  faultPoint,
  faultPoints,
  faultText,
  parseFaults,
} from "../../src/faults/index.ts";
import { disturbanceNames } from "../faults/harness/disturbances.ts";
import { batchesOf, batchSize } from "../faults/harness/run-plans.ts";
import { invariants } from "../faults/harness/invariants.ts";
import { everyPlan, parsePlan, planText, randomOf, randomPlan } from "../faults/harness/plan.ts";

afterEach(disarm);

const root = fileURLToPath(new URL("../../", import.meta.url));

function folder(mark?: string): string {
  const path = mkdtempSync(join(tmpdir(), "countersign-fault-point-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  if (mark !== undefined) writeFileSync(join(path, faultMark), mark);
  return path;
}

test("a point that is not armed is its operation, begun in the same turn", async () => {
  const work = vi.fn<() => Promise<number>>(async () => 7);
  const asked = faultPoint("effect.call", work);
  expect(work).toHaveBeenCalledTimes(1);
  expect(await asked).toBe(7);
  await expect(faultPoint("effect.call", () => Promise.reject(new Error("its own")))).rejects.toThrow("its own");
});

test("each kind does what it says, at its hit and at no other", async () => {
  const path = join(folder(), "hits");
  arm(parseFaults("effect.call:2:throw,effect.record:1:do-then-throw,run.open:*:throw,run.close:1:hang") ?? [], path);
  const work = vi.fn<() => Promise<string>>(async () => "done");
  expect(await faultPoint("effect.call", work)).toBe("done");
  await expect(faultPoint("effect.call", work)).rejects.toMatchObject({ code: "fault_injected" });
  expect(work).toHaveBeenCalledTimes(1);
  expect(await faultPoint("effect.call", work)).toBe("done");
  await expect(faultPoint("effect.record", work)).rejects.toMatchObject({ code: "fault_injected" });
  expect(work).toHaveBeenCalledTimes(3);
  for (let time = 0; time < 2; time += 1)
    await expect(faultPoint("run.open", work)).rejects.toMatchObject({ code: "fault_injected" });
  expect(work).toHaveBeenCalledTimes(3);
  const late = faultPoint("run.close", work);
  expect(work).toHaveBeenCalledTimes(3);
  expect(await late).toBe("done");
  expect(readFileSync(path, "utf8").trim().split("\n")).toEqual([
    "effect.call:1:-",
    "effect.call:2:throw",
    "effect.call:3:-",
    "effect.record:1:do-then-throw",
    "run.open:1:throw",
    "run.open:2:throw",
    "run.close:1:hang",
  ]);
});

test.each([
  ["kill", "hits: run.open:1:kill"],
  ["do-then-kill", "did hits: run.open:1:do-then-kill"],
])("%s is SIGKILL", (kind, left) => {
  const path = folder(faultMarkText);
  const program = `
    const { armFaults, faultPoint } = await import("${root}src/faults/index.ts");
    const { appendFileSync } = await import("node:fs");
    armFaults(process.env, "${path}");
    await faultPoint("run.open", async () => appendFileSync("${path}/did", "did "));
    appendFileSync("${path}/did", "went on");`;
  const { signal } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    env: { PATH: process.env["PATH"], COUNTERSIGN_FAULT: `run.open:1:${kind}`, COUNTERSIGN_FAULT_LOG: `${path}/hits` },
  });
  expect(signal).toBe("SIGKILL");
  const did = kind === "kill" ? "" : readFileSync(`${path}/did`, "utf8");
  expect(`${did}hits: ${readFileSync(`${path}/hits`, "utf8").trim()}`).toBe(left);
});

test.each([
  ["in production, by NODE_ENV", { NODE_ENV: "production" }, faultMarkText],
  ["in production, as policies see it", { COUNTERSIGN_ENVIRONMENT: "production" }, faultMarkText],
  ["where the data directory is not marked", {}, undefined],
  ["where the mark says something else", {}, "yes\n"],
])("faults are refused %s, and nothing is armed", async (_, env, mark) => {
  expect(() => armFaults({ COUNTERSIGN_FAULT: "run.open:1:throw", ...env }, folder(mark))).toThrowError(
    expect.objectContaining({ code: "fault_refused" }),
  );
  expect(await faultPoint("run.open", async () => "unharmed")).toBe("unharmed");
});

test.each([
  "run.open",
  "run.open:0:throw",
  "nope:1:throw",
  "run.open:1:maim",
  "run.open:1:throw,",
  "run.open:1:throw:x",
])("`%s` is no fault, and refused", (text) => {
  expect(() => armFaults({ COUNTERSIGN_FAULT: text }, folder(faultMarkText))).toThrowError(
    expect.objectContaining({ code: "fault_refused", hint: expect.stringContaining("effect.call") }),
  );
});

test("no process of the command line starts with faults where nobody marked the data directory for it", () => {
  const run = (home: string) =>
    spawnSync(process.execPath, ["src/cli/main.ts", "worker", "--json"], {
      cwd: root,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], COUNTERSIGN_HOME: home, COUNTERSIGN_FAULT: "effect.call:1:kill" },
    });
  const refused = run(folder());
  expect([refused.status, JSON.parse(refused.stdout)]).toMatchObject([2, { error: { code: "fault_refused" } }]);
  // Marked, it goes on, and misses what every worker needs.
  expect(JSON.parse(run(folder(faultMarkText)).stdout)).toMatchObject({ error: { code: "environment" } });
});

test("plans are written and read alike, the same for one seed, and cover every point and kind", () => {
  const fresh = new Map(faultPoints.map((point) => [point, 40] as const));
  const warm = new Map([...fresh].filter(([point]) => point !== "key.file"));
  const every = everyPlan({ fresh, warm }, {});
  for (const point of faultPoints)
    for (const kind of faultKinds)
      expect(every.some(({ faults }) => faults.some((fault) => fault.point === point && fault.kind === kind))).toBe(
        true,
      );
  const random = (seed: number) => {
    const next = randomOf(seed);
    return Array.from({ length: 50 }, () => planText(randomPlan(next, fresh, {})));
  };
  expect(random(7)).toEqual(random(7));
  expect(random(7)).not.toEqual(random(8));
  for (const text of [...every.map(planText), ...random(7)]) expect(planText(parsePlan(text)!)).toBe(text);
  // Each hit, but of the key's file: a process for each log replaces it once.
  const tried = new Set(every.flatMap(({ faults }) => faults.filter(({ kind }) => kind === "kill").map(faultText)));
  expect(faultPoints.filter((point) => !tried.has(`${point}:40:kill`) || !tried.has(`${point}:23:kill`))).toEqual([
    "key.file",
  ]);
  // A point that only a beginning comes to is tried at each of its hits all the same.
  warm.delete("run.open");
  const first = everyPlan({ fresh, warm }, { point: "run.open", kind: "kill" });
  expect(first.map(planText)).toEqual(Array.from({ length: 40 }, (_, place) => `run.open:${place + 1}:kill`));
  // None is lost on the way, and only warm ones share a world.
  const batches = [...batchesOf(every)];
  expect(batches.flat().map(planText).toSorted()).toEqual(every.map(planText).toSorted());
  expect(batches.filter((batch) => batch.length > 1 && batch.some((plan) => plan.warm !== true))).toEqual([]);
  expect(Math.max(...batches.map(({ length }) => length))).toBe(batchSize);
  expect(parseFaults(faultText({ point: "run.open", hit: 0, kind: "hang" }))).toEqual([
    { point: "run.open", hit: 0, kind: "hang" },
  ]);
});

test("docs/faults.md names every point, kind, disturbance and invariant", () => {
  const text = readFileSync(join(root, "docs/faults.md"), "utf8");
  const names = [...faultPoints, ...faultKinds, ...disturbanceNames].map((name) => `\`${name}\``);
  const rows = Object.entries(invariants).map(([number, what]) => `| ${number} | ${what}`);
  expect([...names, ...rows].filter((name) => !text.includes(name))).toEqual([]);
});
