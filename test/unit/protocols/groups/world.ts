import type { Verify } from "../../../../src/auth/verifier.ts";
import { GroupsProtocol } from "../../../../src/protocols/groups/groups.ts";
import { type Credentials, GroupsSession } from "../../../../src/protocols/groups/groups-session.ts";
import { createWorld as createPhoenixWorld, FakeClient, verdictOf, type World } from "../phoenix/world.ts";

/** The world of Phoenix' tests with group clients in it: one hub, one context, both protocols. */
export interface GroupsWorld extends World {
  readonly groups: GroupsProtocol;
  enter(credentials?: Partial<Credentials>): FakeClient;
}

export async function createWorld(verify: Verify = verdictOf): Promise<GroupsWorld> {
  const world = await createPhoenixWorld();
  const clients = new Set<FakeClient>();
  const publish = (topic: string, frame: string | Buffer): number => {
    let worst = 1;
    for (const client of clients) if (client.topics.has(topic)) worst = Math.min(worst, client.hear(frame));
    return worst;
  };
  const { hub, context } = world;
  const groups = new GroupsProtocol({
    hub,
    context,
    fanouts: { publisher: { publish }, connections: hub.connections },
    verify,
    maxSubscriptions: 1000,
  });
  let serial = 0;
  return {
    ...world,
    groups,
    enter(credentials = {}) {
      const client = new FakeClient(context, `g${++serial}`, "192.0.2.1");
      client.session = new GroupsSession(groups, client, { token: "alice", ...credentials });
      clients.add(client);
      return client.connect();
    },
  };
}

/** Names groups, and gives what came for it. */
export function follow(client: FakeClient, groups: unknown, more = {}): unknown[] {
  client.take();
  client.receive(JSON.stringify({ groups, ...more }));
  return client.take();
}
