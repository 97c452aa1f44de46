/**
 * A process of clients that are all cut off at once and all come back, as phoenix.js does: `bun storm-clients.ts PORT
 * COUNT SECRET CHANNELS`. One line of JSON for each thing that all of them have reached: `{"all":"joined"|"lost"}`.
 */
import { mint } from "../phoenix-client.ts";

const [port = "", count = "", secret = "", channels = "1"] = process.argv.slice(2);
const BACK_OFF = [10, 50, 100, 150, 200, 250, 500, 1000, 2000];
const SIZE = Number(count);

let joined = 0;
let attempts = 0;
let states = 0;
let early = 0;
const codes: Record<string, number> = {};

function say(all: string): void {
  console.log(JSON.stringify({ all, attempts, states, early, codes }));
}

function run(i: number): void {
  const topic = `storm:${i % Number(channels)}`;
  const token = mint({ id: `user ${i}`, channel: topic }, secret);
  let tries = 0;
  const open = (): void => {
    attempts++;
    let isJoined = false;
    let hasState = false;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/websocket?vsn=2.0.0`);
    socket.onopen = () => {
      tries = 0;
      socket.send(JSON.stringify(["1", "1", topic, "phx_join", { token }]));
    };
    socket.onmessage = ({ data }: MessageEvent) => {
      const text = String(data);
      if (!isJoined && text.includes('"phx_reply"') && text.includes('"ok"')) {
        isJoined = true;
        if (++joined === SIZE) say("joined");
      } else if (!hasState && text.startsWith(`["1",null,"${topic}","presence_state"`)) {
        hasState = true;
        if (++states === SIZE) say("present");
      } else if (!hasState) early++;
    };
    socket.onclose = ({ code }: CloseEvent) => {
      codes[code] = (codes[code] ?? 0) + 1;
      if (hasState) states--;
      if (isJoined && --joined === 0) say("lost");
      setTimeout(open, BACK_OFF[tries++] ?? 5000);
    };
  };
  open();
}

for (let i = 0; i < SIZE; i++) setTimeout(() => run(i), i / 5);
