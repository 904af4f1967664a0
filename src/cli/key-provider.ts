import { join } from "node:path";

import { loadOrCreatePayloadKeys, vaultKeyProvider } from "../store/index.ts";
import type { KeyProvider, PayloadKeys } from "../store/index.ts";
import { CliError } from "./cli-error.ts";

const forms = "`local`, or `vault:KEY` or `vault:MOUNT/KEY` for Vault's transit engine";

/** The deployment's keys: its key file, and whoever wraps data keys. Every process of one deployment needs the same. */
export async function payloadKeysIn(secrets: string, env: NodeJS.ProcessEnv): Promise<PayloadKeys> {
  return loadOrCreatePayloadKeys(join(secrets, "payload.key"), keyProviderOf(env));
}

/** What COUNTERSIGN_KEY_PROVIDER names; undefined: the key file itself. */
export function keyProviderOf(env: NodeJS.ProcessEnv): KeyProvider | undefined {
  const named = env["COUNTERSIGN_KEY_PROVIDER"] ?? "";
  if (named === "" || named === "local") return undefined;
  const [, mount = "transit", key = ""] = /^vault:(?:([\w-]+(?:\/[\w-]+)*)\/)?([\w.-]+)$/.exec(named) ?? [];
  if (key === "") throw new CliError("usage", `COUNTERSIGN_KEY_PROVIDER is \`${named}\`, expected ${forms}`);
  const [address, token] = [env["VAULT_ADDR"] ?? "", env["VAULT_TOKEN"] ?? ""];
  const url = URL.parse(address);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new CliError("environment", "VAULT_ADDR is not the address of a Vault server, without a user");
  if (token === "") throw new CliError("environment", "VAULT_TOKEN is not set");
  const namespace = env["VAULT_NAMESPACE"] || undefined;
  return vaultKeyProvider({ address, token, mount, key, namespace });
}
