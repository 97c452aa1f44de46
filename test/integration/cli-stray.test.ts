import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Inbox } from "./inbox.ts";
import { startRedis } from "./redis-process.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const SECRET = "the-secret-of-this-test-is-long-enough";

/** Preloaded script: a signal triggers an uncaught error. */
const FAULTS = `
  process.on("SIGUSR1", () => { throw new Error("broken with ${SECRET}\\nand a second line"); });
  process.on("SIGUSR2", () => { void Promise.reject(new Error("rejected")); });
`;

test("logs an uncaught error in one line without a secret and continues to run", async () => {
  const redis = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), "channel-stray-"));
  writeFileSync(join(folder, "faults.ts"), FAULTS);
  const child = Bun.spawn(
    [
      ...[
        process.execPath,
        "--preload",
        join(folder, "faults.ts"),
        MAIN,
        "--port",
        "0",
        "--log-format",
        "json",
      ],
      ...["--redis-url", redis.url, "--jwt-secret", SECRET],
    ],
    { cwd: folder, env: {}, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  const log = new Inbox<string>("log", (line) => line);
  void (async () => {
    let rest = "";
    for await (const chunk of child.stderr) {
      const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) log.put(line);
    }
  })();
  const listening = await log.until((line) => line.includes('"listening"'), "that it listens", 10_000);
  const { url }: { url: string } = JSON.parse(listening);

  child.kill("SIGUSR1");
  const thrown = await log.until((line) => line.includes("unexpected error"), "the error", 5000);
  child.kill("SIGUSR2");
  const rejected = await log.until((line) => line.includes("rejected"), "the rejection", 5000);

  expect(JSON.parse(thrown)).toMatchObject({
    level: "error",
    message: "unexpected error",
    error: "broken with ******** and a second line",
    at: expect.stringContaining("faults.ts"),
    times: 1,
  });
  expect(JSON.parse(rejected)).toMatchObject({
    level: "error",
    message: "unexpected error",
    error: "rejected",
  });
  expect(log.all.join("\n")).not.toContain(SECRET);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  await redis.stop();
  rmSync(folder, { recursive: true });
}, 30_000);
