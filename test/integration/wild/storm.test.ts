import { expect, test } from "bun:test";
import { join } from "node:path";
import { startChannel } from "../channel-process.ts";
import { Inbox, short } from "../inbox.ts";
import { connectPhoenix, mint } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";
import { SECRET } from "../world.ts";
import { metric } from "./poller.ts";

/** Clients, and the channels that they are spread over: in one, each of them is to get a state that shows all others. */
const CROWDS = [
  [1000, 1],
  [5000, 50],
  ...(process.env.CHANNEL_LONG === "1" ? [[5000, 1] as const] : []),
] as const;

test.each(CROWDS)(
  "%d clients of %d channels that all come back at once are all in again, and presence is exact",
  async (crowdSize, channels) => {
    const ports = [freePort(), freePort()];
    const start = () =>
      startChannel({
        args: ["--port", `${ports[0]}`, "--bus", "embedded", "--redis-url", `redis://127.0.0.1:${ports[1]}`],
        toml: `jwt_secret = "${SECRET}"\nshutdown_grace = "1s"\n`,
      });
    let server = await start();
    const crowd = Bun.spawn(
      [
        process.execPath,
        join(import.meta.dir, "storm-clients.ts"),
        `${ports[0]}`,
        `${crowdSize}`,
        SECRET,
        `${channels}`,
      ],
      { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    );
    const news = new Inbox<{ all: string; attempts: number; codes: object; early: number }>("crowd", (each) =>
      short(JSON.stringify(each)),
    );
    const reading = (async () => {
      let rest = "";
      for await (const chunk of crowd.stdout) {
        const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) news.put(JSON.parse(line));
      }
    })();
    const expected = Object.fromEntries(
      [...Array.from({ length: crowdSize / channels }, (_, i) => `user ${i * channels}`), "witness"].map(
        (id) => [id, 1],
      ),
    );
    try {
      await news.until(({ all }) => all === "present", "the crowd", 60_000);
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        const before = news.all.at(-1)?.attempts ?? 0;
        server.kill(signal);
        await server.exited;
        server = await start();
        const back = await news.until(({ all }) => all === "present", `the crowd after ${signal}`, 60_000);
        expect(back.early).toBe(0);
        // Some tries while the server was down, and then one each: no close of ours started them anew.
        expect(back.attempts - before).toBeLessThan(crowdSize * 12);
        expect(await metric(server.url, "channel_connections_opened_total")).toBe(crowdSize);
        expect(await metric(server.url, 'channel_disconnects_total{reason="slow"}')).toBe(0);

        const witness = await connectPhoenix(server.url);
        await witness.join("storm:0", { token: mint({ id: "witness", channel: "storm:0" }, SECRET) });
        const { payload } = await witness.event("presence_state");
        const counts: Record<string, number> = {};
        for (const [id, entry] of Object.entries(Object(payload))) counts[id] = Object(entry).metas.length;
        expect(counts).toEqual(expected);
        await witness.socket.close();
      }
    } finally {
      crowd.kill("SIGKILL");
      await reading;
      await server.stop();
    }
  },
  180_000,
);
