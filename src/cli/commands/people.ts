import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import { namePattern } from "../../core/ids.ts";
import { roles } from "../../core/roles.ts";
import type { Role } from "../../core/roles.ts";
import type { RoleTeams } from "../../registry/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { addPeopleListCommands } from "./people-list.ts";

type ForTeams = "all teams" | readonly string[];
type AddFlags = {
  readonly role: ReadonlyMap<Role, ForTeams>;
  readonly group: readonly string[];
  readonly name?: string;
  readonly key?: string;
  readonly person?: string;
};

export function addPeopleCommands(program: Command): void {
  const people = program
    .command("people")
    .description(
      "who may call the API, on DATABASE_URL or the database of a running `npm start`, which sets up two by itself",
    );
  people
    .command("add <id>")
    .description("add a person or service, or give one a new token and other roles; prints the token once")
    .requiredOption(
      "--role <role>",
      `${roles.join(", ")}, for all teams; or ROLE:TEAM[,TEAM], for these only; may be repeated`,
      addRole,
      new Map<Role, ForTeams>(),
    )
    .option(
      "--group <group>",
      "may decide what policies ask this group for; may be repeated",
      (group, all: string[]) => [...all, group],
      [],
    )
    .option(
      "--person <id>",
      "who is behind it, the same for all accounts of one: a person decides once, and never on what is theirs; default: the id",
    )
    .option("--name <text>", "for people to read; default: the id")
    .option("--key <file>", "the key they sign decisions with (Ed25519, PEM); made if it is not there")
    .action((id: string, flags: AddFlags, command: Command) => add(cliOf(command), id, flags));
  addPeopleListCommands(people);
}

/** Whoever has the database's URL has its owner's rights: this is how the first administrator comes to be. */
async function add({ env, terminal }: Cli, id: string, { role, group, name, key, person }: AddFlags): Promise<void> {
  const [{ createPool, migrate }, { ownDatabaseUrl }, { addPerson, userName }, { privateKeyIn }, { publicKeyOf }] =
    await Promise.all([
      import("../../store/index.ts"),
      import("../own-database.ts"),
      import("../people.ts"),
      import("../key-file.ts"),
      import("../../approvals/index.ts"),
    ]);
  const pool = createPool({ url: await ownDatabaseUrl(env) });
  try {
    await migrate(pool);
    const held = [...role].map(([name, teams]) => (teams === "all teams" ? name : `${name} for ${teams.join(", ")}`));
    const roleTeams = Object.fromEntries([...role].filter(([, teams]) => teams !== "all teams")) as RoleTeams;
    const publicKey = key === undefined ? undefined : publicKeyOf(privateKeyIn(key));
    const { token, proposed } = await addPerson(
      pool,
      {
        id,
        displayName: name ?? id,
        roles: [...role.keys()],
        roleTeams,
        groups: group,
        publicKey,
        ...(person === undefined ? {} : { person }),
      },
      userName(),
    );
    terminal.say(`${id} is ${held.join("; ")}${group.length === 0 ? "" : `, in ${group.join(", ")}`}`);
    terminal.say(`token, shown this once: ${token}`);
    if (key !== undefined) terminal.say(`decisions are signed with ${key}: COUNTERSIGN_KEY_FILE=${key}`);
    if (proposed !== undefined)
      terminal.say(
        `the key counts when an admin, who is somebody else, has confirmed it: countersign keys confirm ${proposed}`,
      );
    terminal.result({
      id,
      roles: [...role.keys()],
      roleTeams,
      groups: group,
      person: person ?? null,
      token,
      keyFile: key ?? null,
      proposedKey: proposed ?? null,
    });
  } finally {
    await pool.end();
  }
}

/** `reviewer`, or `reviewer:shop,bank`. */
function addRole(text: string, all: ReadonlyMap<Role, ForTeams>): ReadonlyMap<Role, ForTeams> {
  const [name, limits] = text.split(/:(.*)/s);
  const role = roles.find((known) => known === name);
  if (role === undefined) throw new InvalidArgumentError(`expected one of ${roles.join(", ")}, or ROLE:TEAM`);
  const before = all.get(role);
  const teams = limits?.split(",");
  if (before !== undefined && (before === "all teams" || teams === undefined))
    throw new InvalidArgumentError(`\`${role}\` is given for all teams and for some: give it once`);
  if (teams?.every((team) => namePattern.test(team)) === false)
    throw new InvalidArgumentError("expected names of teams after the colon: reviewer:shop,bank");
  return new Map(all).set(role, teams === undefined ? "all teams" : [...new Set([...(before ?? []), ...teams])]);
}
