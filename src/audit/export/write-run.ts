import type { Json } from "../../core/json.ts";
import type { RunSection } from "../offline/index.ts";
import type { BundleFolder } from "./bundle-folder.ts";
import type { BundleSource, ExportOptions, Fetched } from "./bundle-source.ts";

export async function writeRun(
  source: BundleSource,
  folder: BundleFolder,
  run: Fetched,
  options: ExportOptions,
): Promise<RunSection> {
  const { id, team, workflowBundle } = run.run;
  const at = `runs/${id}`;
  const { v, steps, decisions, approvals, edits = [], resolutions = [], standingGrants = [] } = run;
  await folder.json(`releases/${run.run.release}.json`, run.release as unknown as Json);
  for (const [digest, document] of Object.entries(run.policySets))
    await folder.json(`policies/${digest}.json`, document);
  const salt = run.contents?.salt;
  // Erased contents are not there; whether an entry says so is for the verifier to see.
  if (run.contents !== undefined && (salt !== undefined || run.run.dataKey === undefined)) {
    await folder.json(`payloads/${run.run.input}.json`, run.contents.input as unknown as Json);
    for (const [digest, value] of Object.entries(run.contents.payloads))
      await folder.json(`payloads/${digest}.json`, value);
  }
  if (options.code && workflowBundle !== null && !folder.has(`code/${workflowBundle}.js`))
    await folder.text(`code/${workflowBundle}.js`, await source.code(workflowBundle));
  const histories: RunSection["histories"] = [];
  for (const [place, { temporalRunId, history }] of run.histories.entries())
    histories.push({ temporalRunId, file: await folder.json(`${at}/history-${place}.json`, history) });
  const record = await folder.json(`${at}/record.json`, {
    v,
    run: run.run,
    ...(salt === undefined ? {} : { salt }),
    steps,
    decisions,
    approvals,
    ...(edits.length === 0 ? {} : { edits }),
    ...(resolutions.length === 0 ? {} : { resolutions }),
    ...(standingGrants.length === 0 ? {} : { standingGrants }),
  } as unknown as Json);
  const statement =
    run.statement === null
      ? {}
      : { statement: await folder.json(`${at}/statement.dsse.json`, run.statement as unknown as Json) };
  return { run: id, log: team, record, histories, ...statement };
}
