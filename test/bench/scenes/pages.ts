import { pace } from "../../../src/bench/deliveries.ts";
import { aircraftPayload } from "../payloads.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

const PAGES = 100;
const BYTES = 200_000;

export const pages: Scene = {
  name: "pages",
  title: "100 pages, each its own channel, 200 KB of aircraft a second each",
  unit: "delivery",
  // The limit does not check that a payload is JSON. 1.2 to 1.3 on a quiet machine.
  worstRatio: 1.8,
  play: (stage) => {
    const messages = Array.from({ length: PAGES }, (_, i) =>
      stage.dialect.publication(`streaming-${i}`, "new-jet1090-data", aircraftPayload(BYTES, i)),
    );
    return playMessages(stage, {
      clients: PAGES,
      topic: (index) => `streaming-${index}`,
      stampEvery: 1,
      warmUpSeconds: stage.short ? 1 : 3,
      // CPU is counted in steps of 10 ms: fewer seconds would be too few of them.
      seconds: stage.short ? 4 : 15,
      send: (deliveries, publisher, seconds) => pace(deliveries, publisher, messages, PAGES, 1, seconds),
    });
  },
};
