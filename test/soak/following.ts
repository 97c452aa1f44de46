import { mint } from "../integration/phoenix-client.ts";
import { type Departure, openSocket, partSocket, type SoakClient, type Stage, serialOf } from "./clients.ts";

/** A client of event groups that follows the messages of some rooms. */
export async function follower(stage: Stage, name: string, rooms: readonly string[]): Promise<SoakClient> {
  const { ledger } = stage;
  const token = mint({ id: name, channels: [...rooms] }, stage.secret);
  const socket = await openSocket(stage, `/groups?token=${token}`);
  const last = new Map<string, number>();
  const follow = (): void => {
    const groups = Object.fromEntries(rooms.map((room) => [room, ["message"]]));
    socket.send(JSON.stringify({ groups }));
  };
  socket.onmessage = ({ data }) => {
    const value: unknown = JSON.parse(String(data));
    if (typeof value !== "object" || value === null) return ledger.fault(`${name}: ${data}`);
    if ("accept" in value) return follow();
    if ("groups_current" in value) return;
    const serial = serialOf(value);
    if (serial === null || !("room" in value)) return ledger.fault(`${name}: ${data}`);
    // Groups carry no binary messages: a gap in the numbers is one of these.
    ledger.received++;
    const room = String(value.room);
    const before = last.get(room) ?? -1;
    last.set(room, serial);
    if (serial <= before) ledger.fault(`${name} received ${room} ${serial} after ${before}`);
  };
  return {
    push() {},
    // Sends its groups again, as a page does on a change.
    heartbeat: follow,
    go: (how: Departure) => partSocket(stage, socket, how),
  };
}
