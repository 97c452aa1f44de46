import { connectAll } from "../../../src/bench/clients.ts";
import { flood, pace } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import type { Client } from "../../../src/bench/websocket-client.ts";
import { followAll, groups, groupsFrame, groupsUrl } from "../groups.ts";
import type { Figures, Scene, Stage } from "../scene.ts";
import { mint } from "../tokens.ts";
import { playTo, type Traffic } from "./messages.ts";

const CLIENTS = 1000;

/** As in `fan-out`. */
const IN_FLIGHT = 200;
const BATCH = 50;

/** The same traffic as `fan-out`, to clients who follow it as a group. */
export const groupsFanOut: Scene = {
  name: "groups-fan-out",
  title: "1 group, 1,000 clients, 100 B, as fast as it goes",
  unit: "delivery",
  groups: true,
  play: (stage) => {
    const batch = groups.publication("bench", "message", paddedPayload(100), BATCH);
    return playGroups(stage, () => groupsFrame({ bench: ["message"] }), {
      stampEvery: 16,
      warmUpSeconds: stage.short ? 0.5 : 2,
      seconds: stage.short ? 1.5 : 8,
      send: (deliveries, publisher, seconds) => flood(deliveries, publisher, batch, IN_FLIGHT, seconds),
    });
  },
};

const PER_SECOND = 20_000;

/** The same traffic as `own-channels`, to clients who follow a job each. */
export const groupsOwn: Scene = {
  name: "groups-own",
  title: "1,000 clients, each follows its own job, 100 B, 20 messages a second each",
  unit: "delivery",
  groups: true,
  play: (stage) => {
    const messages = Array.from({ length: CLIENTS }, (_, i) =>
      groups.publication("job_events", String(i), paddedPayload(100)),
    );
    return playGroups(stage, ({ index }) => groupsFrame({ job_events: [index] }), {
      stampEvery: 1,
      warmUpSeconds: stage.short ? 0.5 : 2,
      seconds: stage.short ? 2 : 8,
      send: (deliveries, publisher, seconds) => pace(deliveries, publisher, messages, PER_SECOND, 1, seconds),
    });
  },
};

async function playGroups(
  stage: Stage,
  frame: (client: Client) => Buffer,
  traffic: Traffic,
): Promise<Figures> {
  const clients = await connectAll(groups, groupsUrl(stage.url, mint(stage.secret, "user", "*")), CLIENTS);
  await followAll(clients, frame);
  return playTo(stage, groups, clients, traffic);
}
