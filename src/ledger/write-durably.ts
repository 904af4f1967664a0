import { randomBytes } from "node:crypto";
import { open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Replaces a file, mode 0600: whole or not at all, and on disk when it returns, its name too. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const fresh = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    await synced(fresh, "wx", (file) => file.writeFile(text));
    await rename(fresh, path);
  } catch (error) {
    await unlink(fresh).catch(() => undefined);
    throw error;
  }
  await synced(dirname(path), "r");
}

type File = Awaited<ReturnType<typeof open>>;

async function synced(path: string, flags: string, work?: (file: File) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await work?.(file);
    await file.sync();
  } finally {
    await file.close();
  }
}
