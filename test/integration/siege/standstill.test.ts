import { expect, test } from "bun:test";
import { labelled, readMetrics } from "../../soak/samples.ts";
import { enterGroups } from "../groups/groups-client.ts";
import { eventually } from "../phoenix-client.ts";
import { startPoller } from "../wild/poller.ts";
import { startWorld } from "../world.ts";

/** How long the server is stopped, in ms: longer than the heartbeat timeout, and than a long poll. */
const STILL = process.env.CHANNEL_LONG === "1" ? 17_000 : 5000;

test("keeps its clients after the machine was suspended", async () => {
  const world = await startWorld("embedded", { toml: `[limits]\nidle_timeout = "2s"\n` });
  try {
    const token = world.token("room");
    const talking = await world.connect();
    const listening = await world.connect();
    const vanished = await world.connect();
    for (const client of [talking, listening, vanished]) await client.join("room", { token });
    const groups = await enterGroups(world.channel.url, token);
    await groups.follow({ room: ["news"] });
    const poller = await startPoller(world.channel.url);
    await poller.post(`["1","1","room","phx_join",${JSON.stringify({ token })}]`);
    await poller.until(({ event }) => event === "presence_state");

    const polling = poller.until(({ event }) => event === "news");
    world.channel.kill("SIGSTOP");
    const beating = setInterval(() => talking.send({ ref: "b", topic: "phoenix", event: "heartbeat" }), 500);
    vanished.socket.answerPings(false);
    await Bun.sleep(STILL);
    world.channel.kill("SIGCONT");
    clearInterval(beating);
    // A live client is pinged and has time to answer; a lost client is detected as usual.
    expect((await vanished.socket.closed).code).toBe(1006);
    await world.backend.publish("to:room:news", "1");
    await talking.event("news");
    await listening.event("news");
    expect(await groups.next()).toBe(1);
    await polling;
    for (const { socket } of [talking, listening, groups]) expect(socket.isClosed).toBe(false);
    await eventually(async () => {
      return labelled(await readMetrics(world.channel.url), "channel_disconnects_total", "silent") === 1;
    }, "one alone was silent");
    groups.socket.cut();
  } finally {
    world.channel.kill("SIGCONT");
    await world.stop();
  }
}, 60_000);
