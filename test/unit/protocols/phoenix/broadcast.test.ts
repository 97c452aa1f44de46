import { afterEach, beforeEach, expect, test } from "bun:test";
import { formatOf } from "../../../../src/protocols/phoenix/format.ts";
import { V2 } from "../../../../src/protocols/phoenix/phoenix-codec.ts";
import { createWorld, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.stop());

test("a frame for one member is kept for the same join_ref, event and payload only", () => {
  const { encoder } = world.endpoint.fanout(world.hub.open("room"), formatOf(V2, true, true, false));
  const large = JSON.stringify("x".repeat(10_000));
  const larger = JSON.stringify("y".repeat(10_000));
  for (const payload of [large, larger, large, "1"]) {
    for (const event of ["presence_state", "channel.list", "presence_state"]) {
      for (const joinRef of ["1", "2", "1", null]) {
        const frame = encoder.frameFor(joinRef, event, payload);
        expect(JSON.parse(frame)).toEqual([joinRef, null, "room", event, JSON.parse(payload)]);
      }
    }
  }
});
