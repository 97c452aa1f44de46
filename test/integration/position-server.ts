import type { Bus } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import type { RelayPlace } from "../../src/bus/relay/relay.ts";
import { BusDispatcher } from "../../src/fleet/bus-dispatcher.ts";
import { FleetMessages } from "../../src/fleet/fleet-messages.ts";
import { Markers } from "../../src/fleet/markers.ts";
import { Signer } from "../../src/fleet/signer.ts";
import { Connections } from "../../src/hub/connections.ts";
import { Hub, type HubOptions } from "../../src/hub/hub.ts";
import { MemoryPresenceStore } from "../../src/hub/presence/memory-presence.ts";
import { createStats } from "../../src/hub/stats.ts";
import { recordingLog } from "./bus-rig.ts";

/** Bytes; small, so that messages over it are cheap. */
export const MAX_PAYLOAD = 1000;

export const SECRET = "a secret of all servers";

/** The part of a server that counts messages: bus, signatures, markers and hub. Records the position of each message. */
export class PositionServer {
  readonly bus: Bus;
  readonly hub: CountingHub;
  /** Subscriptions that were lost. */
  losses = 0;
  /** The nodes that were subscribed. */
  readonly nodes: string[] = [];

  constructor(url: string, relayPlace: RelayPlace | null = null) {
    const { log } = recordingLog();
    this.bus = createRedisBus({ url, maxPayload: MAX_PAYLOAD, relayPlace, log });
    this.hub = new CountingHub(hubOptions(this.bus));
    const messages = new FleetMessages(this.bus, new Signer([SECRET], ""), log);
    const dispatcher = new BusDispatcher(this.hub, messages, new Markers(messages, this.hub));
    void this.bus.subscribe(["to", "hub"], {
      message: (name, payload) => dispatcher.message(name, payload),
      changed: (state) => dispatcher.changed(state),
      greeting: (brokerTime, node) => {
        this.nodes.push(node);
        return dispatcher.greeting(brokerTime, node);
      },
      lost: () => {
        this.losses++;
        dispatcher.lost();
      },
    });
  }

  get records(): Records {
    return this.hub.records;
  }

  async stop(): Promise<void> {
    this.hub.stop();
    await this.bus.stop();
  }
}

/** What a server received: the number that begins each payload. */
export interface Records {
  readonly byPosition: Map<string, number>;
  readonly bySeq: Map<number, number>;
  /** The newest message with a position. */
  newest: { readonly position: string; readonly message: number } | null;
  /** Messages without a position. */
  unplaced: number;
}

/** A hub that records the position of each message on `to:`, delivered or dropped. */
class CountingHub extends Hub {
  readonly records: Records = { byPosition: new Map(), bySeq: new Map(), newest: null, unplaced: 0 };

  override message(name: Buffer, payload: Buffer): void {
    super.message(name, payload);
    const { records, positions } = this;
    const message = Number.parseInt(payload.toString("latin1", 0, 12), 10);
    const position = positions.at(positions.seq);
    records.bySeq.set(positions.seq, message);
    if (position === null) records.unplaced++;
    else {
      records.byPosition.set(position, message);
      records.newest = { position, message };
    }
  }
}

function hubOptions(bus: Bus): HubOptions {
  return {
    bus,
    connections: new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 }),
    stats: createStats(),
    log: recordingLog().log,
    presence: new MemoryPresenceStore(),
    node: "n",
    presenceWindow: 100,
    maxPayload: MAX_PAYLOAD,
    datetime: false,
    adminEvents: false,
    presenceEvents: false,
    history: null,
    rulesFor: () => ({ presence: false, presenceMeta: false, namesSender: false, history: null }),
  };
}
