import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { defineTool, ToolError } from "countersign";

/** A room's seats. */
const rooms: Readonly<Record<string, number>> = { Birch: 4, Oak: 8, Willow: 20 };

const day = z.iso.date().describe("A day, such as 2027-03-01");

export const findRooms = defineTool({
  name: "find_rooms",
  description: "Lists the rooms that are free on a day and have enough seats, the smallest first.",
  input: z.strictObject({ day, seats: z.int().min(1).max(100) }),
  effect: "read",
  short: true,
  execute: ({ day, seats }) => ({
    rooms: Object.keys(rooms)
      .filter((room) => (rooms[room] ?? 0) >= seats && bookingOf(room, day) === undefined)
      .map((room) => ({ room, seats: rooms[room] ?? 0 })),
  }),
});

export const bookRoom = defineTool({
  name: "book_room",
  description: "Books a room for a whole day.",
  input: z.strictObject({ room: z.string().min(1).max(40), day, title: z.string().min(1).max(200) }),
  effect: "write",
  groups: ["calendar"],
  // A step that is tried again after a crash comes with the key of its first attempt: it must find its own booking, not a taken room.
  idempotency: "key",
  execute({ room, day, title }, { idempotencyKey }) {
    // What is known to have had no effect is a ToolError: it is told to the model, and nobody has to find out what happened.
    if (!Object.hasOwn(rooms, room)) throw new ToolError(`there is no room ${room}`);
    const booking = bookingOf(room, day) ?? book({ room, day, title, key: idempotencyKey });
    if (booking.key !== idempotencyKey) throw new ToolError(`${room} is taken on ${day}`);
    return { booked: booking.room, day: booking.day, title: booking.title };
  },
});

/** A file for each booking, so that two cannot have one room. A real tool would ask a calendar. */
const bookingSchema = z.object({ room: z.string(), day: z.string(), title: z.string(), key: z.string() });
type Booking = z.output<typeof bookingSchema>;

function bookingOf(room: string, day: string): Booking | undefined {
  try {
    return bookingSchema.parse(JSON.parse(readFileSync(fileOf(room, day), "utf8")));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function book(booking: Booking): Booking {
  mkdirSync(folder(), { recursive: true });
  // `wx`: fails where the file is there already.
  writeFileSync(fileOf(booking.room, booking.day), JSON.stringify(booking), { flag: "wx" });
  return booking;
}

const fileOf = (room: string, day: string): string => `${folder()}/${day}-${room}.json`;
const folder = (): string => process.env["BOOKINGS"] ?? fileURLToPath(new URL("bookings", import.meta.url));
