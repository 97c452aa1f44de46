import { expect, test } from "bun:test";
import { PendingChanges } from "../../../src/hub/presence/pending-changes.ts";
import type { Meta } from "../../../src/hub/presence/presence-store.ts";
import { encodeMeta } from "../../../src/hub/presence/presence-wire.ts";
import {
  fieldOf,
  type Peer,
  type SharedContext,
  SharedPresence,
} from "../../../src/hub/presence/shared-presence.ts";

const ROOM = "room";

function meta(ref: string, previous?: string): Meta {
  return { user: "alice", ref, onlineAt: 1, ...(previous === undefined ? {} : { previous }) };
}

/** A channel of this server, loaded, with alice by the ref `a` on another server. @param parting whether that one stops */
function loaded(parting = false): { presence: SharedPresence; peer: Peer } {
  const peer: Peer = { incarnation: "other", seq: 1, missedAt: Number.NEGATIVE_INFINITY, parting };
  const context: SharedContext = {
    incarnation: "own",
    peers: new Map([[peer.incarnation, peer]]),
    ...{ anyParting: parting, parting: false, renewing: false, live: true },
    request: () => {},
    pending: () => new PendingChanges(),
    stranger: () => {},
  };
  const presence = new SharedPresence(ROOM, context);
  read(presence, [meta("a")]);
  presence.takeDiff();
  return { presence, peer };
}

/** Reads these entries of the other server. Returns the refs to ask it about. */
function read(presence: SharedPresence, entries: readonly Meta[]): readonly string[] {
  presence.beginRead();
  const stored = new Map(entries.map((each) => [fieldOf("other", each.ref), encodeMeta(each)]));
  return [...presence.endRead(stored, true).values()].flat();
}

function users(presence: SharedPresence): Record<string, { metas: { phx_ref: string }[] }> {
  return JSON.parse(presence.state());
}

test("a member whose new entry is in a message that was missed does not leave in between", () => {
  const { presence, peer } = loaded();
  // Missed: alice is `b` in place of `a`. What follows is the answer to an earlier question.
  peer.missedAt = performance.now();
  presence.receive(peer, { channel: ROOM, joins: [], leaves: ["a"] });
  expect(presence.takeDiff()).toBeNull();
  expect(users(presence).alice?.metas).toHaveLength(1);

  expect(read(presence, [meta("b", "a")])).toEqual([]);
  expect(users(presence).alice?.metas.map(({ phx_ref }) => phx_ref)).toEqual(["b"]);
});

test("the same while the entries are being read", () => {
  const { presence, peer } = loaded();
  presence.beginRead();
  peer.missedAt = performance.now();
  presence.receive(peer, { channel: ROOM, joins: [], leaves: ["a"] });
  presence.endRead(new Map([[fieldOf("other", "a"), encodeMeta(meta("a"))]]), true);
  expect(presence.takeDiff()).toBeNull();

  presence.beginRead();
  peer.missedAt = performance.now();
  presence.receive(peer, { channel: ROOM, joins: [], leaves: ["a"] });
  presence.failRead();
  expect(presence.takeDiff()).toBeNull();
});

test("who left while messages were missed is asked about after the next read, and leaves then", () => {
  const { presence, peer } = loaded();
  peer.missedAt = performance.now();
  presence.receive(peer, { channel: ROOM, joins: [], leaves: ["a"] });
  expect(read(presence, [])).toEqual(["a"]);
  presence.receive(peer, { channel: ROOM, joins: [], leaves: ["a"] });
  expect(users(presence)).toEqual({});
});

test("joins are shown at once while messages are missing", () => {
  const { presence, peer } = loaded();
  peer.missedAt = performance.now();
  presence.receive(peer, { channel: ROOM, joins: [{ ...meta("c"), user: "bob" }], leaves: ["a"] });
  expect(Object.keys(users(presence)).sort()).toEqual(["alice", "bob"]);
});

test("who came back from a server that stops has one entry, though a read still has the old one, and leaves once", () => {
  const { presence, peer } = loaded(true);
  presence.beginRead();
  presence.put(meta("mine"));
  presence.endRead(new Map([[fieldOf("other", "a"), encodeMeta(meta("a"))]]), false);
  expect(users(presence).alice?.metas.map(({ phx_ref }) => phx_ref)).toEqual(["mine"]);
  expect(presence.drop(peer)).toEqual([]);
});
