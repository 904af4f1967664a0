/**
 * A program of its own: `node temporal-download.ts VERSION DIRECTORY` lets the Temporal SDK fetch the server into DIRECTORY.
 * The SDK can only fetch while starting a server, and its download cannot be cancelled; a process can be killed.
 */
const [version, downloadDir] = process.argv.slice(2);
if (version === undefined || downloadDir === undefined) throw new Error("usage: temporal-download VERSION DIRECTORY");

const { TestWorkflowEnvironment } = await import("@temporalio/testing");
const environment = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: "cached-download", version, downloadDir } },
});
await environment.teardown();

export {};
