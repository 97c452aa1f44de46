import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { call, readAlong } from "./api-client.ts";
import { eventually } from "./phoenix-client.ts";
import { ADMIN_SECRET, RETURNS_MEMORY, startWorld } from "./world.ts";

const STREAMS = 100;
/** Memory limit of all streams together, in bytes. Includes the growth of the executable under this load. */
const MAX_GROWTH = 60 << 20;

function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) * 1024;
}

/** Requests a stream and reads none of it, not even the response head. */
function ask(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.pause();
      socket.write(
        `GET /api/channels/busy/messages HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${ADMIN_SECRET}\r\n\r\n`,
      );
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

test("100 inspectors that do not read use little memory, and another inspector gets every message, shown or counted", async () => {
  const world = await startWorld("embedded", { env: RETURNS_MEMORY });
  const { port, pid, url } = world.channel;
  const payload = JSON.stringify("x".repeat(15_000));
  try {
    const reader = await readAlong(url, "busy");
    const before = residentBytes(pid);
    const sockets = await Promise.all(Array.from({ length: STREAMS }, () => ask(port)));
    await eventually(async () => {
      const { body } = await call(url, "/api/stats");
      return body.channels > 0;
    }, "the server to answer");
    let most = 0;
    // 24 rounds of 40 messages, 200 ms apart.
    for (let round = 0; round < 24; round++) {
      for (let i = 0; i < 40; i++) await world.backend.publish("to:busy:news", payload);
      await Bun.sleep(200);
      most = Math.max(most, residentBytes(pid) - before);
    }
    console.log(`${STREAMS} unread inspectors: +${Math.round(most / (1 << 20))} MB`);
    expect(most).toBeLessThan(MAX_GROWTH);
    await eventually(
      () => reader.messages.all.length + reader.skipped() === 24 * 40,
      "all messages, shown or counted",
    );
    reader.stop();
    for (const socket of sockets) socket.destroy();
  } finally {
    await world.stop();
  }
}, 60_000);
