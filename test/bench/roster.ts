/** Who a server says is in its channels, as a client that joins them is told. */
import { mint } from "./tokens.ts";

/** Members of a channel and how often each is in it; `null`: the server names none, and this is their number. */
export type Roster = ReadonlyMap<string, number> | number;

export interface Compared {
  readonly expected: number;
  readonly present: number;
  readonly missing: number;
  /** Those who are not there, or more than once. */
  readonly extra: number;
}

/** Counts where the channels differ from who should be in them. */
export function compare(
  expected: ReadonlyMap<string, ReadonlySet<string>>,
  found: ReadonlyMap<string, Roster>,
): Compared {
  const total = { expected: 0, present: 0, missing: 0, extra: 0 };
  for (const [channel, users] of expected) {
    total.expected += users.size;
    const roster = found.get(channel) ?? 0;
    if (typeof roster === "number") {
      total.present += Math.min(roster, users.size);
      total.missing += Math.max(0, users.size - roster);
      total.extra += Math.max(0, roster - users.size);
      continue;
    }
    for (const user of users) if (roster.has(user)) total.present++;
    total.missing = total.expected - total.present;
    for (const [user, times] of roster) total.extra += users.has(user) ? times - 1 : times;
  }
  return total;
}

/** Channels that one connection reads. */
const CHANNELS_EACH = 50;
/** A server that keeps no presence sends none. */
const PATIENCE_MS = 10_000;

const READER = "reader";

/** Reads the presence of all channels; a channel of which nothing came is not in the result. */
export async function readRosters(
  dialect: string,
  url: URL,
  secret: string,
  channels: readonly string[],
): Promise<ReadonlyMap<string, Roster>> {
  const read = dialect === "phoenix" ? readPhoenix : dialect === "centrifugo" ? readCentrifugo : null;
  const found = new Map<string, Roster>();
  if (read === null) return found;
  for (let from = 0; from < channels.length; from += CHANNELS_EACH) {
    const some = channels.slice(from, from + CHANNELS_EACH);
    await read(url, secret, some, found);
    // Where the first have none, none has.
    if (found.size === 0) break;
  }
  return found;
}

/** Calls `message` with each text until it says that this was the last one. */
async function converse(
  url: URL,
  first: readonly string[],
  message: (text: string) => boolean,
): Promise<void> {
  const socket = new WebSocket(url);
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, PATIENCE_MS);
  socket.onopen = () => {
    for (const text of first) socket.send(text);
  };
  socket.onmessage = ({ data }) => {
    if (String(data).split("\n").filter(Boolean).some(message)) over.resolve();
  };
  socket.onclose = () => over.resolve();
  await over.promise;
  clearTimeout(timer);
  socket.close();
}

type Found = Map<string, Roster>;

function readPhoenix(url: URL, secret: string, channels: readonly string[], found: Found): Promise<void> {
  const joins = channels.map((channel, i) => {
    const token = mint(secret, READER, channel);
    return JSON.stringify([String(i), String(i), channel, "phx_join", { token }]);
  });
  let left = channels.length;
  return converse(url, joins, (text) => {
    const [, , channel, event, state]: [null, null, string, string, Record<string, { metas: unknown[] }>] =
      JSON.parse(text);
    if (event !== "presence_state") return false;
    const members = Object.entries(state).map(([id, { metas }]) => [id, metas.length] as const);
    found.set(channel, new Map(members.filter(([id]) => id !== READER)));
    return --left === 0;
  });
}

/** All connect without a name there, so members can be counted only. */
function readCentrifugo(url: URL, secret: string, channels: readonly string[], found: Found): Promise<void> {
  const frames = channels.flatMap((channel, i) => {
    const token = mint(secret, READER, channel);
    return [
      JSON.stringify({ id: 2 * i + 2, subscribe: { channel, token } }),
      JSON.stringify({ id: 2 * i + 3, presence: { channel } }),
    ];
  });
  let left = channels.length;
  return converse(url, ['{"id":1,"connect":{}}', ...frames], (text) => {
    const { id = 0, presence }: { id?: number; presence?: { presence: object } } = JSON.parse(text);
    if (id < 3 || id % 2 === 0) return false;
    const channel = channels[(id - 3) / 2];
    if (presence !== undefined && channel !== undefined) {
      found.set(channel, Object.keys(presence.presence).length - 1);
    }
    return --left === 0;
  });
}
