import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ADMIN_SECRET, BUSES, startWorld, type World } from "./world.ts";

const TOML = `
[channels."room:*"]
history = 5
last_value = true
[channels."value:*"]
last_value = true
`;

interface Message {
  readonly position: string;
  readonly event: string;
  readonly payload?: unknown;
  readonly base64?: string;
  readonly at: number;
}

interface Answer {
  readonly position: string;
  readonly messages: readonly Message[];
}

describe.each([...BUSES])("history over HTTP (%s)", (bus) => {
  let world: World;

  beforeAll(async () => {
    world = await startWorld(bus, { toml: TOML });
  });
  afterAll(() => world.stop());

  function get(path: string): Promise<Response> {
    return fetch(`${world.channel.url}${path}`, { headers: { authorization: `Bearer ${ADMIN_SECRET}` } });
  }

  async function history(channel: string, query = ""): Promise<Answer> {
    const response = await get(`/api/channels/${encodeURIComponent(channel)}/history${query}`);
    expect(response.status).toBe(200);
    return response.json();
  }

  async function publish(channel: string, event: string, payload: unknown): Promise<unknown> {
    const response = await fetch(`${world.channel.url}/api/publish`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_SECRET}` },
      body: JSON.stringify({ channel, event, payload }),
    });
    expect(response.status).toBe(200);
    return response.json();
  }

  async function refusal(path: string): Promise<unknown> {
    const response = await get(path);
    const { code } = await response.json();
    return [response.status, code];
  }

  test("lists the messages after a position, exactly as published, of a channel without clients", async () => {
    const payload = '{ "a":1.0, "a":12345678901234567890, "__proto__":"é" }';
    await world.backend.publish("to:room:1:first", payload);
    await world.backend.publish("to:room:1:binary", Buffer.from([0, 255]));
    const published = await publish("room:1", "third", { n: 3 });
    const all = await get("/api/channels/room:1/history");
    expect(await all.clone().text()).toContain(`"event":"first","payload":${payload},"at":`);
    const { position, messages }: Answer = await all.json();
    expect(messages.map(({ event }) => event)).toEqual(["first", "binary", "third"]);
    expect(messages[1]?.base64).toBe("AP8=");
    expect(published).toEqual({ listeners: 0, position: messages[2]?.position });
    expect(position).toBe(messages[2]?.position ?? "");
    expect(Math.abs(Date.now() - (messages[0]?.at ?? 0))).toBeLessThan(60_000);
    const after = await history("room:1", `?since=${messages[0]?.position}`);
    expect(after.messages).toEqual(messages.slice(1));
    expect((await history("room:1", `?since=${messages[0]?.position}&limit=1`)).messages).toEqual([
      messages[1] as Message,
    ]);
    expect((await history("room:1", "?limit=2")).messages).toEqual(messages.slice(1));
    expect((await history("room:1", `?since=${position}`)).messages).toEqual([]);
  });

  test("says why a position cannot be resumed from", async () => {
    for (let n = 0; n < 3; n++) await publish("room:2", "e", n);
    const [first] = (await history("room:2")).messages;
    for (let n = 3; n < 8; n++) await publish("room:2", "e", n);
    const path = "/api/channels/room:2/history?since=";
    expect(await refusal(path + first?.position)).toEqual([410, "history_too_many"]);
    for (const position of ["", "7", "x-1", "aaa.b-1", `${first?.position}0000000`]) {
      expect(await refusal(path + position)).toEqual([410, "position_unknown"]);
    }
    expect(await refusal("/api/channels/other/history")).toEqual([404, "history_off"]);
    expect(await refusal("/api/channels/value:1/history")).toEqual([404, "history_off"]);
    expect(await refusal("/api/channels/other/last")).toEqual([404, "history_off"]);
    expect(await refusal(`${path}${"x".repeat(256)}`)).toEqual([422, "invalid_request"]);
  });

  test("keeps what was published without a listener, and not what is invalid", async () => {
    const names = [
      "to:room:3:phx_join",
      "to:room:3:presence_diff",
      "to:room:3:",
      `to:room:3:${"e".repeat(300)}`,
    ];
    for (const name of names) await world.backend.publish(name, "1");
    await world.backend.publish("to:room:3:empty", "");
    await publish("room:3", "kept", 1);
    expect((await history("room:3")).messages.map(({ event }) => event)).toEqual(["kept"]);
  });

  test("shows the newest message of each event, until an empty payload removes it", async () => {
    const path = "/api/channels/value:1/last";
    await publish("value:1", "a", 1);
    await publish("value:1", "b", 2);
    await publish("value:1", "a", 3);
    await publish("room:4", "done", 0);
    const values = async (): Promise<unknown> => {
      const { messages }: Answer = await (await get(path)).json();
      return messages.map(({ event, payload }) => [event, payload]);
    };
    expect(await values()).toEqual([
      ["b", 2],
      ["a", 3],
    ]);
    await world.backend.publish("to:value:1:b", "");
    await publish("room:4", "done", 0);
    expect(await values()).toEqual([["a", 3]]);
  });

  test("counts what is kept", async () => {
    const metrics = await (await get("/metrics")).text();
    expect(Number(/^channel_history_bytes (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(1000);
    expect(Number(/^channel_history_channels (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(3);
  });

  test("answers without a position where there is no history", async () => {
    expect(await publish("other", "e", 1)).toEqual({ listeners: 0 });
  });
});
