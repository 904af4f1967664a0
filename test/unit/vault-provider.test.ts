import { randomBytes } from "node:crypto";

import { expect, test } from "vitest";

import { keyProviderOf } from "../../src/cli/key-provider.ts";
import { vaultKeyProvider } from "../../src/store/index.ts";
import { playVault, vaultToken } from "../support/vault.ts";

test("a data key wrapped by Vault opens under its own context, and under no other", async () => {
  const vault = await playVault();
  const env = { COUNTERSIGN_KEY_PROVIDER: "vault:countersign", VAULT_ADDR: vault.address, VAULT_TOKEN: vaultToken };
  const provider = keyProviderOf(env)!;
  const key = randomBytes(32);
  const wrapped = await provider.wrap(key, "key_1\nada");
  expect(wrapped.toString()).toMatch(/^vault:v1:/);
  expect(wrapped.includes(key)).toBe(false);
  expect(await provider.unwrap(wrapped, "key_1\nada")).toEqual(key);
  await expect(provider.unwrap(wrapped, "key_1\nbob")).rejects.toMatchObject({ code: "key_provider_failed" });
  expect(vault.asked[0]).toBe("POST /v1/transit/encrypt/countersign");
});

test.each(["late", "sealed", "redirect", "odd"] as const)("a Vault that is %s fails, in time", async (behave) => {
  const vault = await playVault();
  const options = { address: vault.address, token: vaultToken, key: "countersign", mount: "transit", timeoutMs: 300 };
  const provider = vaultKeyProvider(options);
  vault.behave = behave;
  await expect(provider.wrap(randomBytes(32), "c")).rejects.toMatchObject({ code: "key_provider_failed" });
  await expect(provider.unwrap(Buffer.from("vault:v1:AAAA"), "c")).rejects.toMatchObject({
    code: "key_provider_failed",
  });
  // Nothing was sent on with the token.
  expect(vault.asked.filter((one) => one.includes("elsewhere"))).toEqual([]);
});

test("a Vault that answers without end is not listened to until the time is over", async () => {
  const vault = await playVault();
  vault.behave = "endless";
  const provider = vaultKeyProvider({
    address: vault.address,
    token: vaultToken,
    key: "k",
    mount: "transit",
    timeoutMs: 20_000,
  });
  await expect(provider.wrap(randomBytes(32), "c")).rejects.toThrow("answered too much");
});

test("another token is refused, and a provider that cannot be meant is said to be none", async () => {
  const vault = await playVault();
  const provider = vaultKeyProvider({ address: vault.address, token: "other", key: "countersign", mount: "transit" });
  await expect(provider.wrap(randomBytes(32), "c")).rejects.toThrow("status 403");
  const good = { VAULT_ADDR: vault.address, VAULT_TOKEN: vaultToken };
  for (const named of ["aws", "vault", "vault:", "vault:a b", "vault:../x"])
    expect(() => keyProviderOf({ ...good, COUNTERSIGN_KEY_PROVIDER: named }), named).toThrow("expected");
  for (const VAULT_ADDR of ["", "https://me:secret@vault.example"])
    expect(() => keyProviderOf({ COUNTERSIGN_KEY_PROVIDER: "vault:k", VAULT_TOKEN: "t", VAULT_ADDR })).toThrow(
      /^VAULT_ADDR[^:]*$/,
    );
  expect(keyProviderOf({})).toBeUndefined();
  expect(keyProviderOf({ ...good, COUNTERSIGN_KEY_PROVIDER: "vault:kv/app/k" })?.name).toBe("vault:kv/app/k");
});
