import pg from "pg";
import { DevError } from "./errors.ts";

export type DatabaseRole = {
  readonly database: string;
  readonly role: string;
  readonly password: string;
  /** A schema to create in the database, owned by the role. */
  readonly schema?: string;
};

/**
 * Makes a login role without any other right, and a database that it owns and nobody else may enter. Idempotent: an existing
 * role gets the password, an existing database stays as it is. `adminUrl` is a superuser's, or that of a role with CREATEROLE
 * and CREATEDB. Returns the role's own URL.
 */
export async function provisionDatabase(adminUrl: string, wanted: DatabaseRole): Promise<string> {
  await withClient(adminUrl, async (client) => {
    const role = client.escapeIdentifier(wanted.role);
    const database = client.escapeIdentifier(wanted.database);
    const known = await client.query("select 1 from pg_roles where rolname = $1", [wanted.role]);
    const verb = known.rowCount === 0 ? "create" : "alter";
    await client.query(
      `${verb} role ${role} with login nosuperuser nocreatedb nocreaterole password ${client.escapeLiteral(wanted.password)}`,
    );
    const existing = await client.query("select 1 from pg_database where datname = $1", [wanted.database]);
    if (existing.rowCount === 0) await client.query(`create database ${database} owner ${role}`);
    await client.query(`revoke connect, temporary on database ${database} from public`);
  });
  const url = new URL(adminUrl);
  url.username = wanted.role;
  url.password = wanted.password;
  url.pathname = `/${wanted.database}`;
  if (wanted.schema !== undefined) await createSchema(url.href, wanted.schema);
  return url.href;
}

/** Makes a login role in a database that is another's: it may enter, and has no right there yet. Idempotent. Returns its URL. */
export async function provisionRole(adminUrl: string, wanted: Omit<DatabaseRole, "schema">): Promise<string> {
  await withClient(adminUrl, async (client) => {
    const role = client.escapeIdentifier(wanted.role);
    const known = await client.query("select 1 from pg_roles where rolname = $1", [wanted.role]);
    const verb = known.rowCount === 0 ? "create" : "alter";
    await client.query(
      `${verb} role ${role} with login nosuperuser nocreatedb nocreaterole password ${client.escapeLiteral(wanted.password)}`,
    );
    await client.query(`grant connect on database ${client.escapeIdentifier(wanted.database)} to ${role}`);
  });
  const url = new URL(adminUrl);
  url.username = wanted.role;
  url.password = wanted.password;
  url.pathname = `/${wanted.database}`;
  return url.href;
}

/** Checks that a Postgres of at least `oldest` answers at `url`. Returns its version, such as 180004 for 18.4. */
export async function checkPostgres(url: string, oldest: number): Promise<number> {
  // `pg` takes any text for one, and looks for a host of a name of its own.
  if (!/^(postgres(ql)?|socket):/i.test(url) || !URL.canParse(url)) {
    throw new DevError("postgres_unreachable", "DATABASE_URL is not the URL of a Postgres database", {
      hint: "give one like postgres://user:password@host:5432/database, or unset it to use the embedded Postgres",
    });
  }
  const version = await withClient(url, async (client) => {
    const { rows } = await client.query<{ server_version_num: string }>("show server_version_num");
    return Number(rows[0]?.server_version_num);
  }).catch((cause: unknown) => {
    throw new DevError("postgres_unreachable", `postgres does not answer at ${placeOf(url)}: ${reasonOf(cause)}`, {
      cause,
      hint: "check DATABASE_URL, or unset it to use the embedded Postgres",
    });
  });
  if (version >= oldest * 10_000) return version;
  throw new DevError(
    "postgres_too_old",
    `expected postgres ${oldest} or newer at ${placeOf(url)}, got ${Math.floor(version / 10_000)}`,
    {
      hint: "point DATABASE_URL at a newer server, or unset it to use the embedded Postgres",
    },
  );
}

async function createSchema(url: string, schema: string): Promise<void> {
  await withClient(url, (client) => client.query(`create schema if not exists ${client.escapeIdentifier(schema)}`));
}

async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    application_name: "countersign-dev",
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Host, port and database of a URL: what may be shown of it. */
function placeOf(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url);
    return `\`${hostname}:${port === "" ? "5432" : port}${pathname}\``;
  } catch {
    return "DATABASE_URL (not a URL)";
  }
}

/** A refused connection to a name with two addresses is an AggregateError, whose own message is empty. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError) return reasonOf(cause.errors[0]);
  return cause instanceof Error ? cause.message : String(cause);
}
