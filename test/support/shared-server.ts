/**
 * One server for a whole vitest run, although every project has a global set-up of its own: the first one starts it, the
 * last one stops it. Global set-ups of all projects run in vitest's main process, but each loads its own copy of this module.
 */
type Slot = { users: number; readonly server: Promise<{ stop(): Promise<void> }> };

const slots = ((globalThis as { countersignTestServers?: Map<string, Slot> }).countersignTestServers ??= new Map());

export async function shareServer<Server extends { stop(): Promise<void> }>(
  name: string,
  start: () => Promise<Server>,
): Promise<{ readonly server: Server; readonly release: () => Promise<void> }> {
  const slot = slots.get(name) ?? { users: 0, server: start() };
  slots.set(name, slot);
  slot.users += 1;
  const server = (await slot.server) as Server;
  const release = async (): Promise<void> => {
    slot.users -= 1;
    if (slot.users > 0) return;
    slots.delete(name);
    await server.stop();
  };
  return { server, release };
}
