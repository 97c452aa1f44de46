import { expect, test } from "bun:test";
import { readMetrics, total } from "../soak/samples.ts";
import { channelBinary, startChannel } from "./channel-process.ts";
import { freePort } from "./redis-process.ts";
import { RespClient, request } from "./resp-client.ts";
import { SECRET } from "./world.ts";

/** Duration in s. Bun's default idle timeout of a socket is 120 s, so a connection must stay open for longer. */
const LONGER_S = 125;

/** One test, since each case has to wait for `LONGER_S`. */
test("the embedded bus keeps connections open: an idle and a busy client, a second server, bench", async () => {
  const port = freePort();
  const url = `redis://127.0.0.1:${port}`;
  const channel = await startChannel({
    args: ["--bus", "embedded", "--redis-url", url, "--jwt-secret", SECRET],
  });
  const second = await startChannel({
    args: ["--bus", "redis", "--redis-url", url, "--jwt-secret", SECRET],
  });
  const [idle, busy] = [await RespClient.connect(port), await RespClient.connect(port)];
  const beat = setInterval(() => busy.send(request("PUBLISH", "to:system:beat", "1")), 1000);
  const began = performance.now();
  try {
    idle.send(request("PSUBSCRIBE", "from:nobody:*"));
    await idle.read("*3\r\n$10\r\npsubscribe\r\n$13\r\nfrom:nobody:*\r\n:1\r\n".length);
    const bench = Bun.spawn(
      [
        ...[channelBinary(), "bench", "--clients", "2", "--rate", "5", "--for", `${LONGER_S}s`],
        ...["--redis-url", url, "--jwt-secret", SECRET, channel.url],
      ],
      { env: {}, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    );
    const [out, progress, code] = await Promise.all([
      new Response(bench.stdout).text(),
      new Response(bench.stderr).text(),
      bench.exited,
    ]);
    expect({ code, progress }).toMatchObject({ code: 0 });
    expect(progress).not.toContain("lost");
    expect(out).toContain("(100 %)");
    expect(performance.now() - began).toBeGreaterThan(LONGER_S * 1000);

    expect([idle.closed, busy.closed]).toEqual([false, false]);
    const publisher = await RespClient.connect(port);
    expect(await publisher.ask(request("PUBLISH", "from:nobody:here", "x"), ":1\r\n")).toBe(":1\r\n");
    publisher.close();
    expect(total(await readMetrics(second.url), "channel_bus_gaps_total")).toBe(0);
  } finally {
    clearInterval(beat);
    for (const client of [idle, busy]) client.close();
    await second.stop();
    await channel.stop();
  }
}, 180_000);
