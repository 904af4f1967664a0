/**
 * A program for tests that kill it: `node start-home.ts HOME POSTGRES_PORT TEMPORAL_PORT` starts both servers on a home,
 * prints one line of JSON, and stays.
 */
import { lockHome, resolveHome, startPostgres, startTemporal } from "../../src/dev/index.ts";

const [root = "", postgresPort, temporalPort] = process.argv.slice(2);
const home = resolveHome({ COUNTERSIGN_HOME: root });
lockHome(home);
const postgres = await startPostgres({ home, port: Number(postgresPort) });
const temporal = await startTemporal({ home, port: Number(temporalPort), env: process.env });
console.log(JSON.stringify({ url: postgres.url, address: temporal.address }));
setInterval(() => undefined, 60_000);
