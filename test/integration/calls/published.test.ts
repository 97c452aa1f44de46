import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { encodeBinary, eventually, WAYS } from "../phoenix-client.ts";
import { BUSES, startWorld, type World } from "../world.ts";
import { metric, nextCall, reasonOf, replyTo, startCall } from "./calling.ts";

/** No call of `room:*` ends by its time-out, however busy the machine is; those of `short:*` do. */
const TOML = `
[channels."room:*"]
calls = ["search", "save*"]
call_timeout = "60s"
sender = true
[channels."short:*"]
calls = ["*"]
call_timeout = "300ms"
`;

const OK = '{"status":"ok","response":{}}';

describe.each([...BUSES])("calls on call: (%s)", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus, { toml: TOML });
  });
  afterAll(() => world.stop());

  const answer = (reply: string, text: string | Buffer): Promise<number> =>
    world.backend.publish(`reply:${reply}`, text);

  async function joined(topic: string, how: Parameters<World["connect"]>[0] = {}) {
    const client = await world.connect(how);
    expect((await client.join(topic, { token: world.token(topic) })).status).toBe("ok");
    const calls = await world.backend.listen(`call:${topic}:*`);
    return { client, calls };
  }

  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: the answer of the backend is the reply, unchanged`, async () => {
      const topic = `room:${way}`;
      const { client, calls } = await joined(topic, { vsn, transport });
      const pushes = await world.backend.listen("push:*");
      const bare = await world.backend.listenToPushes(topic);
      const payload = '{ "user":"eve", "reply":"x.y", "n":12345678901234567890 }';
      const before = Date.now();
      const ref = startCall(client, topic, "search", payload);
      const call = await nextCall(calls);
      expect(call.name).toBe(`call:${topic}:search`);
      expect(call.text).toEndWith(`,"payload":${payload}}`);
      expect(call).toMatchObject({ channel: topic, event: "search", user: "alice", ref });
      expect(call.connection).toMatch(/^\w{14}$/);
      expect(call.reply).toMatch(/^\w{6}\.\w{22}$/);
      expect(call.deadline).toBeGreaterThanOrEqual(before + 60_000);
      expect(call.deadline).toBeLessThanOrEqual(Date.now() + 60_000);
      const text = ' {"response" : {"n":12345678901234567890, "a":1, "a":[2,"\\u00fc ü"]},\n"status":"ok"}';
      expect(await answer(call.reply, text)).toBe(1);
      const reply = await replyTo(client, ref);
      expect(reply.status).toBe("ok");
      expect(reply.frame.text).toContain(text);

      const second = startCall(client, topic, "saved");
      await answer((await nextCall(calls)).reply, '{"status":"error","response":{"reason":"no"}}');
      expect(await reasonOf(client, second)).toBe("no");
      // Calls are not published as pushes: the first push of either kind is the next one.
      await client.ask({ joinRef: null, topic, event: "say", payload: "1" });
      expect((await pushes.until(({ name }) => name.startsWith(`push:${topic}:`))).name).toEndWith(":say");
      expect((await bare.next()).name).toBe(`from:${topic}:say`);
      expect(bare.all).toHaveLength(1);
      client.socket.cut();
    });
  }

  test("are answered in any order, and a leave does not wait for them", async () => {
    const { client, calls } = await joined("room:order");
    const [one, two, three] = [0, 1, 2].map(() => startCall(client, "room:order"));
    const received = [await nextCall(calls), await nextCall(calls), await nextCall(calls)];
    expect(received.map(({ ref }) => ref)).toEqual([one, two, three]);
    await answer(received[2]?.reply ?? "", OK);
    expect((await replyTo(client, three ?? "")).status).toBe("ok");
    await answer(received[0]?.reply ?? "", OK);
    expect((await replyTo(client, one ?? "")).status).toBe("ok");
    expect((await client.ask({ joinRef: null, topic: "room:order", event: "phx_leave" })).status).toBe("ok");
    await client.join("room:order", { token: world.token("room:order") });
    // The client left: the answer is dropped, also for a later join.
    await answer(received[1]?.reply ?? "", OK);
    const last = startCall(client, "room:order");
    await answer((await nextCall(calls)).reply, OK);
    await replyTo(client, last);
    expect(client.frames.all.filter(({ ref }) => ref === two)).toEqual([]);
  });

  test("with a null ref get no reply, and one of a client that is gone is not cancelled", async () => {
    const { client, calls } = await joined("room:null");
    client.send({ joinRef: null, ref: null, topic: "room:null", event: "search", payload: "1" });
    await answer((await nextCall(calls)).reply, OK);
    const ref = startCall(client, "room:null");
    const { reply } = await nextCall(calls);
    await answer(reply, OK);
    await replyTo(client, ref);
    expect(client.frames.all.filter(({ event }) => event === "phx_reply")).toHaveLength(2);

    const answered = await metric(world.channel.url, 'channel_calls_total{result="ok"}');
    startCall(client, "room:null");
    const last = await nextCall(calls);
    client.socket.cut();
    await eventually(async () => (await answer(last.reply, OK)) === 1, "a receiver");
    await eventually(
      async () => (await metric(world.channel.url, 'channel_calls_total{result="ok"}')) === answered + 1,
      "the answer",
    );
  });

  test("without an answer in time end with timeout, and a late answer is counted and dropped", async () => {
    const { client, calls } = await joined("short:1");
    const before = await metric(world.channel.url, "channel_calls_late_total");
    const ref = startCall(client, "short:1", "any");
    const { reply, deadline } = await nextCall(calls);
    expect(await reasonOf(client, ref)).toBe("timeout");
    // Timers of the server use another clock, which differs by little.
    expect(Date.now()).toBeGreaterThan(deadline - 50);
    await answer(reply, OK);
    const late = (): Promise<number> => metric(world.channel.url, "channel_calls_late_total");
    await eventually(async () => (await late()) === before + 1, "the late answer");
    // Once for each call, and not for refs that are none.
    for (const name of [reply, `${reply.slice(0, 7)}${"x".repeat(22)}`, "other1.x", "x", "", "ü"]) {
      await answer(name, OK);
    }
    await client.join("room:late", { token: world.token("room:late") });
    const fence = await world.backend.listen("call:room:late:*");
    const next = startCall(client, "room:late");
    await answer((await nextCall(fence)).reply, OK);
    expect((await replyTo(client, next)).status).toBe("ok");
    expect(await late()).toBe(before + 1);
    expect(client.frames.all.filter((each) => each.ref === ref)).toHaveLength(1);
  });

  test("with an answer that is none end with backend failed", async () => {
    const { client, calls } = await joined("room:bad");
    const bad = [
      ...["", "ok", "[]", '"ok"', "null", "{}", '{"status":"maybe","response":{}}', '{"status":1}'],
      ...['{"status":"ok","response":{}', `${OK}${OK}`, '{"__proto__":{"status":"ok"}}', `\ufeff${OK}`],
      Buffer.from([...Buffer.from('{"status":"ok","response":"'), 0xff, 0x22, 0x7d]),
      `{"status":"ok","response":"${"x".repeat(4 * 1024 * 1024)}"}`,
      `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`,
    ];
    for (const text of bad) {
      const ref = startCall(client, "room:bad");
      // An answer over the limit of the embedded bus ends the connection that publishes it.
      await answer((await nextCall(calls)).reply, text).catch(() => {});
      if (bus === "embedded" && text.length > 4 * 1024 * 1024) continue;
      expect([String(text).slice(0, 40), await reasonOf(client, ref)]).toEqual([
        String(text).slice(0, 40),
        "backend failed",
      ]);
    }
    const ref = startCall(client, "room:bad");
    const { reply } = await nextCall(calls);
    await eventually(() => answer(reply, '{"status":"ok"}').catch(() => null), "an answer");
    const { status, response } = await replyTo(client, ref);
    expect([status, response]).toEqual(["ok", {}]);
  });

  test("that nobody is subscribed to end with no backend", async () => {
    const client = await world.connect();
    await client.join("room:nobody", { token: world.token("room:nobody") });
    expect(await reasonOf(client, startCall(client, "room:nobody"))).toBe("no backend");
    // A subscriber of other calls is none.
    await world.backend.listen("call:room:nobody:save*");
    expect(await reasonOf(client, startCall(client, "room:nobody"))).toBe("no backend");
  });

  test("that several backends get are answered by the first, and others are not late", async () => {
    const { client, calls } = await joined("room:two");
    const others = await world.backend.listen("call:*");
    const before = await metric(world.channel.url, "channel_calls_late_total");
    const ref = startCall(client, "room:two");
    const { reply } = await nextCall(calls);
    expect((await nextCall(others)).reply).toBe(reply);
    await answer(reply, '{"status":"ok","response":1}');
    await answer(reply, '{"status":"ok","response":2}');
    expect((await replyTo(client, ref)).response).toBe(1);
    const next = startCall(client, "room:two");
    await answer((await nextCall(calls)).reply, OK);
    await replyTo(client, next);
    expect(client.frames.all.filter((each) => each.ref === ref)).toHaveLength(1);
    expect(await metric(world.channel.url, "channel_calls_late_total")).toBe(before);
  });

  test("need the permission to push, and carry a binary payload as base64", async () => {
    const client = await world.connect();
    const calls = await world.backend.listen("call:room:may:*");
    await client.join("room:may", { token: world.token("room:may", { can: ["join"] }) });
    expect(await reasonOf(client, startCall(client, "room:may"))).toBe("forbidden");
    const other = await world.connect();
    await other.join("room:may", { token: world.token("room:may") });
    other.sendBinary(
      encodeBinary({
        joinRef: "1",
        ref: "9",
        topic: "room:may",
        event: "search",
        data: Buffer.from([0, 255]),
      }),
    );
    const call = await nextCall(calls);
    expect(call).toMatchObject({ ref: "9", base64: "AP8=" });
    expect(call).not.toHaveProperty("payload");
    await answer(call.reply, OK);
    expect((await replyTo(other, "9")).status).toBe("ok");
    expect(calls.all).toHaveLength(1);
  });

  test("are not answered by a client, whatever its channel and event are called", async () => {
    const { client, calls } = await joined("room:forged");
    const ref = startCall(client, "room:forged");
    const { reply } = await nextCall(calls);
    const heard = await world.backend.listen("*reply:*");
    // As an attacker that knows the ref, with a token for these channels.
    const topics = ["reply", `reply:${reply}`, `x\r\nPUBLISH reply:${reply}`];
    const attacker = await world.connect();
    for (const topic of topics) {
      await attacker.join(topic, { token: world.token(topic) });
      for (const event of [reply, "x"]) {
        attacker.send({
          joinRef: null,
          ref: "x",
          topic,
          event,
          payload: '{"status":"ok","response":"forged"}',
        });
      }
    }
    await attacker.fence();
    await answer(reply, '{"status":"ok","response":"honest"}');
    expect((await replyTo(client, ref)).response).toBe("honest");
    await heard.until(({ payload }) => payload.includes("honest"), "the answer");
    // Joins and pushes are on from:, what the server says of them on to:.
    const names = heard.all.map(({ name }) => name).filter((name) => !/^(from|to):/.test(name));
    expect(names).toEqual([`reply:${reply}`]);
  });
});

describe.each([...BUSES])("the limits of calls (%s)", (bus) => {
  test("one connection may wait for 100 answers, and does not keep others from calling", async () => {
    const world = await startWorld(bus, { toml: '[channels."*"]\ncalls = ["a"]\ncall_timeout = "60s"\n' });
    try {
      const calls = await world.backend.listen("call:room:a");
      const [greedy, other] = [await world.connect(), await world.connect()];
      for (const client of [greedy, other]) await client.join("room", { token: world.token("room") });
      const refs = Array.from({ length: 101 }, () => startCall(greedy, "room", "a"));
      expect(await reasonOf(greedy, refs[100] ?? "")).toBe("too many calls");
      for (let i = 0; i < 99; i++) await nextCall(calls);
      const last = await nextCall(calls);
      const ref = startCall(other, "room", "a");
      await world.backend.publish(`reply:${(await nextCall(calls)).reply}`, OK);
      expect(await reasonOf(other, ref)).toBe("ok");
      // An answer makes room for the next call.
      await world.backend.publish(`reply:${last.reply}`, OK);
      expect(await reasonOf(greedy, refs[99] ?? "")).toBe("ok");
      const next = startCall(greedy, "room", "a");
      await world.backend.publish(`reply:${(await nextCall(calls)).reply}`, OK);
      expect(await reasonOf(greedy, next)).toBe("ok");
      expect(await metric(world.channel.url, 'channel_calls_total{result="too_many_calls"}')).toBe(1);
    } finally {
      await world.stop();
    }
  });

  test("further calls are refused while calls_in_flight wait, those with a null ref included", async () => {
    const world = await startWorld(bus, {
      toml: '[limits]\ncalls_in_flight = 2\n[channels."*"]\ncalls = ["a"]\ncall_timeout = "60s"\n',
      ...(bus === "redis" ? { args: ["--prefix", "one."] } : {}),
    });
    try {
      const prefix = bus === "redis" ? "one." : "";
      const client = await world.connect();
      await client.join("room", { token: world.token("room") });
      const calls = await world.backend.listen(`${prefix}call:room:a`);
      client.send({ joinRef: null, ref: null, topic: "room", event: "a", payload: "1" });
      const second = startCall(client, "room", "a");
      expect(await reasonOf(client, startCall(client, "room", "a"))).toBe("too many calls");
      const [first, next] = [await nextCall(calls), await nextCall(calls)];
      expect(await metric(world.channel.url, "channel_calls_in_flight")).toBe(2);
      // Without the prefix it is no answer.
      if (prefix !== "") expect(await world.backend.publish(`reply:${next.reply}`, OK)).toBe(0);
      await world.backend.publish(`${prefix}reply:${next.reply}`, OK);
      expect((await replyTo(client, second)).status).toBe("ok");
      await world.backend.publish(`${prefix}reply:${first.reply}`, OK);
      const third = startCall(client, "room", "a");
      await world.backend.publish(`${prefix}reply:${(await nextCall(calls)).reply}`, OK);
      expect((await replyTo(client, third)).status).toBe("ok");
      expect(await metric(world.channel.url, 'channel_calls_total{result="too_many_calls"}')).toBe(1);
      expect(await metric(world.channel.url, "channel_calls_in_flight")).toBe(0);
    } finally {
      await world.stop();
    }
  });
});
