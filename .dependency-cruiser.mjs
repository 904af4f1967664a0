import { fileURLToPath } from "node:url";

import verifyPackages from "./scripts/verify-packages.json" with { type: "json" };

/**
 * The room plan: each room, and the only other rooms it may import, through their front doors.
 * `npm run check` holds it, and proves on `test/planted` that every rule below still bites.
 */
const plan = {
  "src/core": [],
  "src/api": ["src/core"],
  "src/faults": ["src/core"],
  "src/store": ["src/core", "src/faults"],
  "src/registry": ["src/core", "src/store"],
  "src/ledger": ["src/core", "src/store", "src/faults"],
  "src/approvals": ["src/core", "src/store"],
  "src/notify": ["src/core", "src/store"],
  "src/quality": ["src/core", "src/store"],
  "src/policy": ["src/core"],
  "src/providers": ["src/core"],
  "src/tools": ["src/core"],
  "src/dev": ["src/core"],
};
const composed = [...Object.keys(plan)].filter((room) => room !== "src/api" && room !== "src/dev");
const rooms = {
  ...plan,
  workflows: ["src/core"],
  "src/gate": composed,
  activities: [...composed, "src/gate"],
  "src/temporal": [...composed, "src/gate", "activities"],
  // Of the gate only what is pure: how a step's action follows from the record.
  "src/audit": [
    "src/core",
    "src/faults",
    "src/store",
    "src/policy",
    "src/ledger",
    "src/approvals",
    "src/registry",
    "src/tools",
    "src/gate",
  ],
  "src/server": [...composed, "src/api", "src/temporal", "src/audit"],
  // The composition root: `dev`, `server`, `worker` and `demo` start what the other rooms are. Commands for people ask the API, but read
  // agents and policies from files, and sign, where the person is.
  "src/cli": [...composed, "src/api", "src/audit", "src/dev", "src/server", "src/temporal", "examples"],
  console: ["src/core", "src/api"],
  examples: ["src/core", "src/tools", "src/policy", "src/registry", "src/providers"],
};

/** Small, and needed by rooms that may not import the room it lies in. */
const shared = [
  "^src/store/canonical\\.ts$",
  "^src/store/make-folder\\.ts$",
  "^src/tools/arguments\\.ts$",
  "^src/ledger/proof/index\\.ts$",
  // Asked for before anything else is loaded.
  "^src/dev/cache-folder\\.ts$",
];
/** The rooms that may import `shared` files beside the plan. */
const sharing = Object.keys(rooms).filter((room) => !["src/core", "src/api", "workflows", "console"].includes(room));

/** The npm packages of the rooms that must stay small; a room not named here may use any that package.json lists. */
const packages = {
  "src/core": ["zod", "yaml"],
  workflows: ["@temporalio/workflow"],
  "src/api": ["eventsource-parser", "zod"],
  "src/faults": [],
  "src/store": ["pg", "canonicalize", "lru-cache", "ulid", "zod"],
  "src/ledger/proof": ["zod"],
  "src/approvals": ["ulid", "zod"],
  "src/notify": ["ipaddr.js", "nodemailer", "standardwebhooks", "ulid", "zod"],
  "src/policy": ["@cedar-policy/cedar-wasm", "libphonenumber-js", "lru-cache", "validator", "yaml", "zod"],
};

/** The front doors of a room's pure part: what verifies offline comes in by these, and reaches no database behind them. */
const offlineDoors = ["^src/gate/offline\\.ts$", "^src/approvals/offline\\.ts$", "^src/audit/offline/index\\.ts$"];

const inRoom = (room) => `^${room}/`;
const except = (room, allowed) => [inRoom(room), ...allowed.map(inRoom), ...(sharing.includes(room) ? shared : [])];
const npm = ["npm", "npm-dev", "npm-optional", "npm-peer", "npm-bundled", "npm-no-pkg", "npm-unknown"];

const boundaries = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports-only-its-neighbours`,
  severity: "error",
  from: { path: inRoom(room) },
  to: { path: [...Object.keys(rooms).map(inRoom), "^(test|bench|scripts)/"], pathNot: except(room, allowed) },
}));

const frontDoors = Object.keys(rooms)
  .filter((room) => room.startsWith("src/") && room !== "src/core")
  .map((room) => ({
    name: `${room}-is-entered-by-its-front-door`,
    severity: "error",
    from: { path: "^(src|workflows|activities|examples|console)/", pathNot: inRoom(room) },
    to: { path: inRoom(room), pathNot: [`^${room}/index\\.ts$`, ...shared, ...offlineDoors] },
  }));

const smallRooms = Object.entries(packages).map(([room, allowed]) => ({
  name: `${room}-uses-only-its-packages`,
  severity: "error",
  from: { path: inRoom(room) },
  to: { dependencyTypes: npm, pathNot: allowed.map((name) => `(^|/)node_modules/${name}/`) },
}));

export default {
  forbidden: [
    ...boundaries,
    ...frontDoors,
    ...smallRooms,
    {
      name: "workflows-never-reach-io",
      comment: "Not even as a type: workflow code is bundled, and must not learn what the world looks like.",
      severity: "error",
      from: { path: "^workflows/" },
      to: { path: ["^activities/", "^src/(?!core/)"], reachable: true },
    },
    {
      name: "workflows-never-reach-schemas",
      comment: "A ZodError in a workflow fails the workflow task, which Temporal retries for ever.",
      severity: "error",
      from: { path: "^workflows/" },
      to: { path: "\\.schema\\.ts$", reachable: true },
    },
    {
      name: "pure-rooms-use-no-node",
      severity: "error",
      from: { path: "^(src/core|workflows)/" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "proofs-need-only-node-crypto",
      severity: "error",
      from: { path: "^src/ledger/proof/" },
      to: { dependencyTypes: ["core"], pathNot: "^(node:)?crypto$" },
    },
    {
      name: "signatures-need-no-server",
      comment: "An auditor's verifier imports them without Postgres.",
      severity: "error",
      from: { path: "^src/approvals/(signature|statement|webauthn|cose)\\.ts$" },
      to: {
        path: ["^src/store/(?!canonical\\.ts$)", "^src/ledger/", "(^|/)node_modules/(pg|@simplewebauthn)/"],
        reachable: true,
      },
    },
    {
      name: "offline-verification-reaches-no-server",
      comment: "An auditor runs it without Postgres, Temporal or network.",
      severity: "error",
      from: { path: "^src/audit/offline/" },
      to: {
        path: [
          "node_modules/(pg|@temporalio)/",
          "^src/(server|temporal|dev|cli)/",
          "^src/store/(?!canonical\\.ts)",
          "^activities/",
        ],
        reachable: true,
      },
    },
    {
      name: "the-verifier-brings-only-its-packages",
      comment: "scripts/verify-packages.json is also what `npm run pack:verify` puts into the verifier's own package.",
      severity: "error",
      from: { path: "^src/audit/offline/" },
      to: {
        path: "(^|/)node_modules/",
        pathNot: verifyPackages.map((name) => `(^|/)node_modules/${name}/`),
        reachable: true,
      },
    },
    {
      name: "core-has-zod-only-in-schemas",
      severity: "error",
      from: { path: "^src/core/", pathNot: "\\.schema\\.ts$" },
      to: { dependencyTypes: npm },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    // Under TypeScript 7 the default parser silently sees nothing.
    parser: "swc",
    tsConfig: { fileName: fileURLToPath(new URL("./tsconfig.json", import.meta.url)) },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: {
      extensions: [".ts", ".tsx", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "node", "default"],
    },
  },
};
