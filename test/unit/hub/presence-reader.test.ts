import { afterEach, expect, test } from "bun:test";
import type { PresenceDatabase } from "../../../src/hub/presence/presence-database.ts";
import type { ChannelPresence, Meta } from "../../../src/hub/presence/presence-store.ts";
import { encodeMeta } from "../../../src/hub/presence/presence-wire.ts";
import { fieldOf } from "../../../src/hub/presence/shared-presence.ts";
import { SharedPresenceStore } from "../../../src/hub/presence/shared-store.ts";
import type { Servers } from "../../../src/hub/servers.ts";
import { NO_OWNER } from "./connected-presence.ts";

const ROOM = "room";
const BOB: Meta = { user: "bob", ref: "b", onlineAt: 1 };
const OTHER = { incarnation: "other", name: "other", previous: [] };

const stores: SharedPresenceStore[] = [];
afterEach(async () => {
  for (const each of stores.splice(0)) await each.stop();
});

/** A database that holds bob of another server, is not connected at first, and leaves `lost` reads without an answer. */
class SlowDatabase implements PresenceDatabase {
  ready = false;
  lost = 0;
  reads = 0;
  start(): void {}
  async read(channels: readonly string[]): Promise<readonly ReadonlyMap<string, string>[] | null> {
    if (this.reads++ < this.lost) return null;
    return channels.map(() => new Map([[fieldOf(OTHER.incarnation, BOB.ref), encodeMeta(BOB)]]));
  }
  async write(): Promise<boolean> {
    return this.ready;
  }
  async occupy(): Promise<null> {
    return null;
  }
  async listOpen(): Promise<null> {
    return null;
  }
  async channelsOf(): Promise<null> {
    return null;
  }
  async renew(): Promise<null> {
    return null;
  }
  async isDead(): Promise<null> {
    return null;
  }
  async claim(): Promise<null> {
    return null;
  }
  async stop(): Promise<void> {}
}

/** Alice joins at a server that has just started. `changed` is called when the state is known, and for each change. */
function join(database: SlowDatabase, changed: () => void): ChannelPresence {
  const servers: Servers = {
    isAlone: false,
    incarnation: "own",
    others: new Map([[OTHER.incarnation, OTHER]]),
    isLiving: () => true,
    observe: ({ joined }) => joined?.(OTHER),
  };
  const messages = { on: () => {}, sign: (_kind: string, body: string) => body };
  const store = new SharedPresenceStore({
    servers: () => servers,
    database,
    messages,
    window: 1,
    maxMessage: 1 << 20,
  });
  stores.push(store);
  const presence = store.load(ROOM);
  store.start({ ...NO_OWNER, changed });
  void presence.load();
  presence.put({ user: "alice", ref: "a", onlineAt: 2 });
  return presence;
}

function present(presence: ChannelPresence): readonly string[] {
  return Object.keys(JSON.parse(presence.state())).sort();
}

/** Resolves to who is present in the first state. */
async function firstState(database: SlowDatabase): Promise<readonly string[]> {
  const loaded = Promise.withResolvers<void>();
  const presence = join(database, () => presence.loaded && loaded.resolve());
  await loaded.promise;
  return present(presence);
}

test("a member that joins before the database is connected gets the members of other servers with its first state", async () => {
  const database = new SlowDatabase();
  const state = firstState(database);
  setTimeout(() => {
    database.ready = true;
  }, 100);
  expect(await state).toEqual(["alice", "bob"]);
});

test("a read without an answer is tried again before the first state", async () => {
  const database = new SlowDatabase();
  database.ready = true;
  database.lost = 2;
  expect(await firstState(database)).toEqual(["alice", "bob"]);
  expect(database.reads).toBe(3);
});

test("without a database, members get the state of this server", async () => {
  expect(await firstState(new SlowDatabase())).toEqual(["alice"]);
});

test("what the database refused to read is read again, without a new connection", async () => {
  const database = new SlowDatabase();
  database.ready = true;
  database.lost = Number.POSITIVE_INFINITY;
  const found = Promise.withResolvers<void>();
  const presence = join(database, () => {
    if (presence.loaded) database.lost = 0;
    if (present(presence).includes("bob")) found.resolve();
  });
  await found.promise;
  expect(present(presence)).toEqual(["alice", "bob"]);
});
