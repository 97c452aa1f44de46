import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";
import { backendOn, SECRET, startWorld, type World } from "../world.ts";
import { startGate } from "./gate.ts";
import { type Guest, invite, present, TRANSPORTS } from "./guest.ts";
import { type Line, startLine } from "./line.ts";
import { begin, metric, startPoller } from "./poller.ts";

/** Under which each refusal is counted. */
const REASONS: Readonly<Record<string, string>> = {
  "a version that does not exist": "http_403",
  "no place left": "http_503",
  "too many connections a second": "http_429",
};

const soon = (seconds: number): number => Math.ceil(Date.now() / 1000) + seconds;

/** How often phoenix.js was connected; with a line that counts, over WebSocket, how often it tried. */
function connects(guest: Guest, { attempts }: Line): number {
  const opened = guest.events.all.filter((event) => event === "open").length;
  return Math.max(opened, attempts.filter(({ request }) => request.includes("/websocket?")).length);
}

for (const transport of TRANSPORTS) {
  describe.concurrent(`phoenix.js over ${transport}`, () => {
    let world: World;
    const guests: Guest[] = [];
    beforeAll(async () => {
      world = await startWorld("embedded", {
        toml: `presence_window = "20ms"\n[limits]\nidle_timeout = "3s"\n`,
      });
    });
    afterAll(async () => {
      for (const guest of guests) guest.leave();
      await world.stop();
    });
    const comes = (url: string, options = {}): Guest => {
      const guest = invite(url, transport, options);
      guests.push(guest);
      return guest;
    };

    test("comes back by itself after a restart and after a crash, and is present once", async () => {
      const port = freePort();
      const redis = freePort();
      const start = (): Promise<ChannelProcess> =>
        startChannel({
          args: ["--port", String(port), "--bus", "embedded", "--redis-url", `redis://127.0.0.1:${redis}`],
          toml: `jwt_secret = "${SECRET}"\npresence_window = "20ms"\nshutdown_grace = "0s"\n`,
        });
      let server = await start();
      const guest = comes(server.url, { rejoinAfterMs: () => 50 });
      const room = guest.room("home", { token: mint({ id: "alice", channel: "home" }, SECRET) });
      await room.events.until((event) => event === "ok");
      for (const signal of ["SIGTERM", "SIGKILL"] as const) {
        server.kill(signal);
        await server.exited;
        server = await start();
        await room.events.until((event) => event === "ok", `a rejoin after ${signal}`);
        await eventually(() => present(room).alice === 1, "presence");
        expect(await room.push("said", {})).toBe("ok");
        const backend = backendOn(redis);
        await backend.publish("to:home:n", "1");
        await room.messages.next();
        backend.stop();
      }
      await server.stop();
    }, 60_000);

    test("with a function for its params is connected anew with a new token when the socket's runs out", async () => {
      const line = await startLine(world.channel.port);
      let asked = 0;
      const guest = comes(line.url, {
        rejoinAfterMs: () => 50,
        params: () => ({ userToken: world.token("params", { exp: soon(asked++ === 0 ? 0 : 3600) }) }),
      });
      const room = guest.room("params");
      await room.events.until((event) => event === "ok");
      // 5 s of leeway, then 2 to 5 s until the socket is closed, so that many do not come back at once.
      await guest.events.until((event) => event.startsWith("close"), "the close", 20_000);
      await room.events.until((event) => event === "ok", "a rejoin");
      expect(asked).toBe(2);
      expect(connects(guest, line)).toBe(2);
      expect(await room.push("said", {})).toBe("ok");
      line.stop();
    }, 40_000);

    test("with one fixed token that ran out is refused, and asks for nothing but a join now and then", async () => {
      const line = await startLine(world.channel.port);
      const guest = comes(line.url, { params: { userToken: world.token("fixed", { exp: soon(0) }) } });
      const room = guest.room("fixed");
      expect(await room.events.until((event) => event === "ok")).toBe("ok");
      await guest.events.until((event) => event.startsWith("close"), "the close", 20_000);
      expect(await room.events.until((event) => event === "token expired")).toBe("token expired");
      await Bun.sleep(2500);
      // Rejoins after 1, 2, 5 s: the first by the new connection, then the timer's.
      expect(room.events.all.filter((event) => event === "token expired").length).toBeLessThan(5);
      expect(connects(guest, line)).toBeLessThan(4);
      line.stop();
    }, 40_000);

    test("with a token of its join rejoins with a new one when that runs out, on the same connection", async () => {
      const line = await startLine(world.channel.port);
      let asked = 0;
      const guest = comes(line.url, { rejoinAfterMs: () => 50 });
      const room = guest.room("joined", () => ({
        token: world.token("joined", { exp: soon(asked++ === 0 ? 0 : 3600) }),
      }));
      await room.events.until((event) => event === "ok");
      await room.events.until((event) => event === "error token expired", "the end of the token");
      await room.events.until((event) => event === "ok", "a rejoin");
      expect(connects(guest, line)).toBe(1);
      expect(asked).toBe(2);
      line.stop();
    }, 40_000);

    test("that slept through its idle time is not present meanwhile, and joins again when it wakes", async () => {
      const line = await startLine(world.channel.port);
      const guest = comes(line.url, {
        rejoinAfterMs: () => 50,
        heartbeatIntervalMs: 1000,
        longpollerTimeout: 4000,
      });
      const sleeper = guest.room("asleep", { token: world.token("asleep", { id: "sleeper" }) });
      await sleeper.events.until((event) => event === "ok");
      const witness = comes(world.channel.url).room("asleep", {
        token: world.token("asleep", { id: "witness" }),
      });
      await eventually(() => present(witness).sleeper === 1, "both there");
      line.stall();
      await eventually(() => present(witness).sleeper === undefined, "the sleeper's leave");
      line.resume();
      await sleeper.events.until((event) => event === "ok", "a rejoin");
      await eventually(() => present(witness).sleeper === 1, "the sleeper again");
      await world.backend.publish("to:asleep:n", "1");
      await sleeper.messages.next();
      expect(connects(guest, line)).toBeLessThan(12);
      line.stop();
    }, 30_000);

    /** Each way in which we end or refuse a client, with how many attempts it may make in the seconds after it. */
    const faults: readonly {
      readonly what: string;
      readonly close: number | null;
      provoke(guest: Guest): void;
    }[] = [
      {
        what: "malformed frames (1008)",
        close: 1008,
        provoke: ({ socket }) => {
          for (let i = 0; i < 10; i++) socket.conn?.send("[nonsense");
        },
      },
      { what: "no channel for idle_timeout (1001)", close: 1001, provoke: () => {} },
    ];
    for (const { what, close, provoke } of faults) {
      test(`comes back at leisure after ${what}`, async () => {
        const line = await startLine(world.channel.port);
        const guest = comes(line.url);
        // As bad as a page can be: it commits its fault each time it is connected.
        guest.socket.onOpen(() => setTimeout(() => provoke(guest), 20));
        await guest.events.until((event) => event === "open");
        const start = performance.now();
        const closed = await guest.events.until((event) => event.startsWith("close"), "its end", 12_000);
        expect(performance.now() - start).toBeGreaterThan(1900);
        if (transport === "websocket") expect(closed).toBe(`close ${close}`);
        await guest.events.until((event) => event.startsWith("close"), "its end again", 12_000);
        expect(connects(guest, line)).toBeWithin(2, 4);
        line.stop();
      }, 30_000);
    }

    const NOBODY = { headers: { "x-forwarded-for": "192.0.2.9" } };
    /** Uses the connects that the address has, and the next one that it gets: there is none for a second. */
    const exhaust = async (url: string): Promise<void> => {
      for (let refused = false; ; ) {
        const { token } = await begin(url, NOBODY);
        if (token !== undefined && refused) return;
        refused ||= token === undefined;
        await Bun.sleep(10);
      }
    };
    const refusals: readonly {
      readonly what: string;
      readonly toml: string;
      readonly params?: object;
      /** Makes the server refuse clients from that address. */
      prepare?(url: string): Promise<unknown>;
    }[] = [
      { what: "a version that does not exist", toml: "", params: { vsn: "3.0.0" } },
      {
        what: "no place left",
        toml: "max_connections_per_ip = 1",
        prepare: async (url) => (await startPoller(url, NOBODY)).post(`[null,"h","phoenix","heartbeat",{}]`),
      },
      {
        what: "too many connections a second",
        toml: "connects_per_second_per_ip = 1",
        prepare: exhaust,
      },
    ];
    for (const { what, toml, params, prepare } of refusals) {
      test(`backs off when refused: ${what}`, async () => {
        const strict = await startWorld("embedded", {
          toml: `trusted_proxies = ["127.0.0.1"]\n[limits]\n${toml}\n`,
        });
        const proxy =
          transport === "websocket"
            ? await startLine(strict.channel.port, NOBODY.headers)
            : startGate(strict.channel.url, NOBODY.headers);
        try {
          await prepare?.(strict.channel.url);
          const refused = () =>
            metric(strict.channel.url, `channel_refused_total{reason="${REASONS[what]}"}`);
          const before = await refused();
          let attempts = 0;
          const guest = comes(proxy.url, {
            ...params,
            reconnectAfterMs: (tries: number) => {
              attempts++;
              return [10, 50, 100, 150, 200, 250, 500, 1000, 2000][tries - 1] ?? 5000;
            },
          });
          const room = guest.room("any", { token: strict.token("any") });
          if (what === "too many connections a second") await room.events.until((event) => event === "ok");
          else await Bun.sleep(2500);
          // phoenix.js' own back-off sums up to 10 tries in 4 s; without it there would be 200.
          expect(attempts).toBeWithin(1, 14);
          expect((await refused()) - before).toBeWithin(1, 28);
        } finally {
          await strict.stop();
          await proxy.stop();
        }
      }, 40_000);
    }
  });
}
