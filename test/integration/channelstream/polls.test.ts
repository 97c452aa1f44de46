import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { eventually } from "../phoenix-client.ts";
import { list, object, type Rig, startRig } from "./rig.ts";

/* A poll whose client hung up is no answered one: what came for it is missed, and the next poll brings it. */

let rig: Rig;
beforeAll(async () => {
  rig = await startRig("", "embedded", `[limits]\nmax_buffered_per_client = "64MiB"\n`);
});
afterAll(() => rig.stop());

/** Polls on a connection of its own, which reads nothing until it is resumed. */
async function pollBlindly(id: string): Promise<Socket> {
  const { port } = new URL(rig.url);
  const line = connect(Number(port), "127.0.0.1");
  line.on("error", () => {});
  const opened = Promise.withResolvers<void>();
  line.once("connect", opened.resolve);
  await opened.promise;
  line.pause();
  line.write(`GET /listen?conn_id=${id} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
  return line;
}

/** The numbers of the messages from polls, until the last one arrived or a poll was empty. */
async function numbersUpTo(id: string, last: number): Promise<unknown[]> {
  const numbers: unknown[] = [];
  while (!numbers.includes(last)) {
    const answer = list(await (await fetch(`${rig.url}/listen?conn_id=${id}`)).json());
    if (answer.length === 0) break;
    for (const { message } of answer) numbers.push(object(message).n);
  }
  return numbers;
}

const upTo = (last: number): number[] => Array.from({ length: last + 1 }, (_, n) => n);

const send = (channel: string, n: number, fill = ""): Promise<unknown> =>
  rig.send({ user: "backend", channel, message: { n, fill } });

/** A client that hangs up later than this (ms) after its poll may have been answered: a poll collects messages for 250 ms. */
const BEFORE_ANSWER = 200;

test("a client that often aborts its polls gets each message once", async () => {
  // Again where this process was too slow for one of the polls.
  const numbers = await eventually(async () => {
    const id = await rig.connect("restless", ["restless"]);
    let longest = 0;
    for (let n = 0; n < 40; n++) {
      const at = performance.now();
      const line = await pollBlindly(id);
      await send("restless", n);
      line.destroy();
      longest = Math.max(longest, performance.now() - at);
      if (n % 3 === 0) await Bun.sleep(n);
    }
    await send("restless", 40);
    return longest < BEFORE_ANSWER && numbersUpTo(id, 40);
  }, "polls that are aborted in time");
  expect(numbers).toEqual(upTo(40));
}, 30_000);

test("an answer that was due while the server was suspended and its client hung up is repeated by the next poll", async () => {
  const id = await rig.connect("due", ["due"]);
  let repeated = 0;
  for (let n = 0; repeated < 5; n++) {
    const at = performance.now();
    const line = await pollBlindly(id);
    await send("due", n);
    rig.world.channel.kill("SIGSTOP");
    const isInTime = performance.now() - at < BEFORE_ANSWER;
    line.destroy();
    // Longer than a poll collects messages after its first one.
    await Bun.sleep(400);
    rig.world.channel.kill("SIGCONT");
    const numbers = await numbersUpTo(id, n);
    if (!isInTime) continue;
    expect(numbers).toEqual([n]);
    repeated++;
  }
}, 60_000);

test("an answer that broke is repeated completely by the next poll", async () => {
  const id = await rig.connect("half", ["half"]);
  // More than the network buffers can hold.
  const fill = "x".repeat(700_000);
  for (let n = 0; n < 30; n++) await send("half", n, fill);
  const line = await pollBlindly(id);
  line.resume();
  const begun = Promise.withResolvers<void>();
  line.once("data", () => {
    line.pause();
    begun.resolve();
  });
  await begun.promise;
  line.destroy();
  expect(await numbersUpTo(id, 29)).toEqual(upTo(29));
}, 20_000);

test("a large answer is complete, as JSON and as a script", async () => {
  const fill = "\u2028\u{1f993}".repeat(50_001);
  for (const callback of ["", "&callback=page.take"]) {
    const id = await rig.connect(`whole${callback}`, ["whole"]);
    for (let n = 0; n < 3; n++) await send("whole", n, fill);
    const text = await (await fetch(`${rig.url}/listen?conn_id=${id}${callback}`)).text();
    const json = callback === "" ? text : text.slice("page.take(".length, -1);
    if (callback !== "") expect([text.slice(0, 11), json.includes("\u2028")]).toEqual(["page.take([", false]);
    const answer = list(JSON.parse(json)).map(({ message }) => object(message));
    expect(answer).toEqual([0, 1, 2].map((n) => ({ n, fill })));
    await send("whole", 3);
    expect(await numbersUpTo(id, 3)).toEqual([3]);
  }
}, 20_000);
