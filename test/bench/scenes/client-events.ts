import { connectAll, joinAll } from "../../../src/bench/clients.ts";
import type { Deliveries } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import { BLANK_STAMP, now } from "../../../src/bench/stamp.ts";
import type { Scene, Stage } from "../scene.ts";
import { mint } from "../tokens.ts";
import { playTo } from "./messages.ts";

const MEMBERS = 1000;
const CURSORS = 20;
const PER_SECOND = 5;
const CHANNEL = "board";
const PAYLOAD = paddedPayload(60);

/** Each move of a cursor goes to all members but its own, and to backends. */
export const clientEvents: Scene = {
  name: "client-events",
  title: "1 channel, 1,000 members, 20 of them move a cursor 5 times a second (60 B)",
  unit: "delivery",
  config: "client-events.toml",
  peers: false,
  play: async (stage) => {
    const { dialect } = stage;
    const clients = await connectAll(dialect, dialect.socketUrl(stage.url), MEMBERS);
    await joinAll(dialect, clients, ({ index }) => ({
      topic: CHANNEL,
      token: mint(stage.secret, `user-${index}`, CHANNEL),
    }));
    return playTo(stage, dialect, clients, {
      stampEvery: 1,
      warmUpSeconds: stage.short ? 0.5 : 2,
      seconds: stage.short ? 2 : 8,
      send: (deliveries, _publisher, seconds) => move(stage, deliveries, seconds),
    });
  },
};

/** The cursors in turn, at an even rate. */
async function move({ dialect }: Stage, deliveries: Deliveries, seconds: number): Promise<void> {
  const { clients } = deliveries;
  const perSecond = CURSORS * PER_SECOND;
  const total = Math.round(perSecond * seconds);
  const began = performance.now();
  let sent = 0;
  while (sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - began) / 1000) * perSecond));
    while (sent < due) {
      const payload = PAYLOAD.replace(BLANK_STAMP, String(now()));
      clients[sent % CURSORS]?.send(dialect.pushFrame(CHANNEL, "cursor", payload));
      sent++;
      deliveries.expected += clients.length - 1;
    }
    await Bun.sleep(1000 / perSecond);
  }
}
