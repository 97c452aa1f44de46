import { expect, test } from "bun:test";
import { eventually, mint } from "./phoenix-client.ts";
import { startNumbers, startReloadClient, untilJoined } from "./reload-clients.ts";
import { SECRETS_TOML, startReloading } from "./reloading.ts";
import { backendOn, SECRET } from "./world.ts";

/** As many as a busy machine can keep up with; the long test is the size that is promised. */
const LONG = process.env.CHANNEL_LONG !== undefined;
const CLIENTS = LONG ? 1000 : 100;
const RELOADS = LONG ? 20 : 4;
const CHANNELS = LONG ? 100 : 10;
const PER_SECOND = 1000;

const HISTORY = `[channels."room:*"]\nhistory = 5000\nhistory_bytes = "4MiB"\n`;

test(
  `phoenix.js clients with recovery miss nothing through ${RELOADS} reloads under ${PER_SECOND} messages a second, the others come back`,
  async () => {
    const server = await startReloading({ toml: SECRETS_TOML + HISTORY });
    const backend = backendOn(server.redis.port);
    const channels = Array.from({ length: CHANNELS }, (_, i) => `room:${i}`);
    const clients = Array.from({ length: CLIENTS }, (_, i) => {
      const channel = channels[i % CHANNELS] ?? "";
      const token = mint({ id: `user-${i}`, channel }, SECRET);
      // Both kinds in each channel.
      return startReloadClient(server.channel.url, channel, token, Math.floor(i / CHANNELS) % 2 === 0);
    });
    try {
      await untilJoined(clients);
      const numbers = startNumbers((name, payload) => backend.publish(name, payload), channels, PER_SECOND);
      for (let i = 0; i < RELOADS; i++) {
        expect(await server.reload()).toBe("0: ");
        await server.settled();
        await untilJoined(clients);
      }
      const last = await numbers.stop();
      const recovering = clients.filter(({ joins }) => joins[0] !== "none");
      await eventually(
        () => recovering.every(({ numbers: got, channel }) => got.at(-1) === last.get(channel)),
        "the last message of each channel",
        30_000,
      );
      const faulty = recovering.filter(({ numbers: got }) => got.some((n, i) => n !== i + 1));
      expect(faulty.map(({ channel, numbers: got }) => [channel, gaps(got)])).toEqual([]);
      expect(new Set(recovering.flatMap(({ joins }) => joins.slice(1)))).toEqual(new Set([true]));
      for (const { joins } of clients) expect(joins.length).toBe(RELOADS + 1);
      expect(clients.flatMap(({ leaves }) => leaves)).toEqual([]);
      expect(clients.reduce((sum, { failures }) => sum + failures, 0)).toBe(0);
      const absences = clients.flatMap((client) => client.absences).sort((a, b) => a - b);
      if (LONG) {
        console.log(
          `${absences.length} absences: median ${absences[absences.length >> 1]?.toFixed(0)} ms, 95 % ${absences[Math.floor(absences.length * 0.95)]?.toFixed(0)} ms, longest ${absences.at(-1)?.toFixed(0)} ms`,
        );
        console.log(
          `${[...last.values()].reduce((sum, n) => sum + n, 0)} messages, ${recovering.length} clients with recovery, none missed one`,
        );
      }
    } finally {
      for (const client of clients) client.disconnect();
      backend.stop();
      await server.stop();
    }
  },
  LONG ? 600_000 : 120_000,
);

/** What is wrong with a series that must be 1, 2, 3, ... */
function gaps(numbers: readonly number[]): string {
  return numbers
    .flatMap((n, i) => (n === (numbers[i - 1] ?? 0) + 1 ? [] : [`${numbers[i - 1] ?? 0} then ${n}`]))
    .join(", ");
}

test("long polls with recovery are restarted cleanly, also in a channel without messages", async () => {
  const server = await startReloading({ toml: SECRETS_TOML + HISTORY });
  const backend = backendOn(server.redis.port);
  const clients = Array.from({ length: 6 }, (_, i) => {
    const channel = i % 2 === 0 ? "room:quiet" : "room:busy";
    const token = mint({ id: `user-${i}`, channel }, SECRET);
    return startReloadClient(server.channel.url, channel, token, true, "longpoll");
  });
  try {
    await untilJoined(clients);
    await backend.publish("to:room:quiet:news", '{"n":1}');
    await eventually(
      () => clients.every(({ channel, numbers: got }) => channel === "room:busy" || got.length === 1),
      "the message",
    );
    const numbers = startNumbers((name, payload) => backend.publish(name, payload), ["room:busy"], 50);
    for (let i = 0; i < 2; i++) {
      expect(await server.reload()).toBe("0: ");
      await server.settled();
      await eventually(
        () => clients.every(({ joins }) => joins.length === i + 2),
        "that all have joined again",
        30_000,
      );
    }
    const last = await numbers.stop();
    await backend.publish("to:room:quiet:news", '{"n":2}');
    await eventually(
      () => clients.every(({ channel, numbers: got }) => got.at(-1) === (last.get(channel) ?? 2)),
      "the last message",
      30_000,
    );
    expect(clients.filter(({ numbers: got }) => got.some((n, i) => n !== i + 1))).toEqual([]);
    expect(clients.map(({ joins }) => joins)).toEqual(clients.map(() => [null, true, true]));
  } finally {
    for (const client of clients) client.disconnect();
    backend.stop();
    await server.stop();
  }
}, 90_000);

test("a long poll gets a position that the successor knows before that one listens", async () => {
  const server = await startReloading({ toml: SECRETS_TOML + HISTORY });
  const url = `${server.channel.url}/longpoll?vsn=2.0.0`;
  const ask = async (method: string, token: string, body?: string): Promise<PollAnswer> => {
    const response = await fetch(`${url}&token=${token}`, {
      method,
      ...(body === undefined ? {} : { body }),
    });
    return Object(await response.json());
  };
  const join = (recover: string | null): string => {
    const token = mint({ id: "alice", channel: "room:quiet" }, SECRET);
    return JSON.stringify(["1", "1", "room:quiet", "phx_join", { token, recover }]);
  };
  try {
    let { token } = await ask("GET", "");
    await ask("POST", token, join(null));
    let poll = await ask("GET", token);
    // Nothing more comes on its own after the diff with the join itself.
    while (!poll.messages.some((text) => text.includes("presence_diff"))) poll = await ask("GET", poll.token);
    const waiting = ask("GET", poll.token);
    expect(await server.reload()).toBe("0: ");
    let answered: PollAnswer | null = null;
    void waiting.then((answer) => {
      answered = answer;
    });
    await eventually(() => answered, "the answer of the poll", 500);
    const frames = (await waiting).messages.map((text) => JSON.parse(text));
    const position = frames.findLast(([, , , event]) => event === "position")?.[4].position;
    ({ token } = await ask("GET", (await waiting).token));
    await ask("POST", token, join(position));
    const reply = (await ask("GET", token)).messages.map((text) => JSON.parse(text))[0];
    expect(reply[4].response).toMatchObject({ recovered: true });
  } finally {
    await server.stop();
  }
}, 60_000);

interface PollAnswer {
  readonly token: string;
  readonly messages: readonly string[];
}
