import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object, type Rig, startRig, TRANSPORTS } from "./channelstream/rig.ts";
import { enterGroups } from "./groups/groups-client.ts";
import { eventually } from "./phoenix-client.ts";
import { ADMIN_SECRET, BUSES } from "./world.ts";

const TOML = `
[channels."price:*"]
last_value = true
`;

let count = 0;
function freshChannel(): string {
  count++;
  return `price:${count}`;
}

describe.each([...BUSES])("last values (%s)", (bus) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig("wake_connections_after = 1", bus, TOML);
  });
  afterAll(() => rig.stop());

  /** Publishes values, and waits until the server has received the last one. */
  async function publish(channel: string, values: readonly (readonly [string, string])[]): Promise<void> {
    for (const [event, payload] of values) await rig.world.backend.publish(`to:${channel}:${event}`, payload);
    const [, newest = ""] = values.at(-1) ?? [];
    const url = `${rig.url}/api/channels/${encodeURIComponent(channel)}/last`;
    const shown = [`"payload":${newest},`, `"base64":"${Buffer.from(newest).toString("base64")}",`];
    await eventually(async () => {
      const text = await (await fetch(url, { headers: { authorization: `Bearer ${ADMIN_SECRET}` } })).text();
      return shown.some((each) => text.includes(each));
    }, `${newest} in ${channel}`);
  }

  test("a new subscriber of event groups gets the newest message of its event, before anything else", async () => {
    const channel = freshChannel();
    await publish(channel, [
      ["gold", "1"],
      ["silver", "2"],
      ["gold", '{"n":12345678901234567890}'],
    ]);
    const client = await enterGroups(rig.url, rig.world.token(channel));
    await client.follow({ [channel]: ["gold", "none"] });
    expect(await client.texts.next()).toBe('{"n":12345678901234567890}');
    await client.follow({ [channel]: ["gold", "silver"] });
    expect(await client.texts.next()).toBe("2");
    await rig.world.backend.publish(`to:${channel}:gold`, "4");
    expect(await client.texts.next()).toBe("4");
  });

  test("a binary value is left out of event groups", async () => {
    const channel = freshChannel();
    await publish(channel, [["gold", "\u0000\u00ff"]]);
    const client = await enterGroups(rig.url, rig.world.token(channel));
    await client.follow({ [channel]: ["gold"] });
    expect(await client.fence()).toEqual([]);
  });

  describe.each([...TRANSPORTS])("Channelstream by %s", (transport) => {
    test("a new connection gets the newest message of each event, before what followed", async () => {
      const channel = freshChannel();
      await publish(channel, [
        ["gold", "1"],
        ["silver", "2"],
        ["gold", "3"],
      ]);
      const id = await rig.connect(`ann-${channel}`, [channel]);
      await publish(channel, [["gold", "4"]]);
      const messages = (await rig.listen(id, transport)).inbox;
      const payload = async (): Promise<unknown> => object((await messages.next()).message).payload;
      // The value of gold is that of the message that followed.
      expect([await payload(), await payload()]).toEqual([2, 4]);
      await rig.world.backend.publish(`to:${channel}:gold`, "5");
      expect(await payload()).toBe(5);
    });
  });
});
