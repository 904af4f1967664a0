import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The real browser. Without one these tests fail: what they show can be shown in no other way. */
export async function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    headless: true,
    // Root, as machines that run tests often are, has no sandbox of its own.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
}

function findChromium(): string {
  const given = process.env["COUNTERSIGN_CHROMIUM"];
  if (given !== undefined && given !== "") return given;
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const found = folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isProgram);
  if (found !== undefined) return found;
  throw new Error(
    `these tests need Chromium or Chrome, and neither is on the PATH (${names.join(", ")}): ` +
      "on Debian, apt-get install chromium; on macOS, brew install --cask chromium; elsewhere, set COUNTERSIGN_CHROMIUM to its path",
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export type Authenticator = Awaited<ReturnType<typeof addAuthenticator>>;

/** A platform authenticator of Chromium's own, whose owner is there, and verified until `verify(false)`. */
export async function addAuthenticator(page: Page) {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    verify: (isUserVerified: boolean) => session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
    /** The passkeys that it holds, with their private keys. */
    credentials: async () => (await session.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
  };
}
