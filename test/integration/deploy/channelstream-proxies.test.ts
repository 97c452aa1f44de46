import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  type Ear,
  object,
  openSocket,
  call as plainCall,
  SECRET,
  startPolling,
} from "../channelstream/rig.ts";
import { type FleetWorld, startFleet, TOML } from "../fleet/fleet-world.ts";
import { type FrontProxy, startProxy } from "./proxy.ts";

/*
 * Channelstream through the configurations of deploy/, in front of two servers: the conn_id in the query names the server.
 */

let fleet: FleetWorld;

beforeAll(async () => {
  fleet = await startFleet(["one", "two"], {
    toml: `trusted_proxies = ["127.0.0.1"]\n${TOML}[channelstream]\nallow_posting_from = ["127.0.0.1", "::1"]\nsecret = "${SECRET}"\nwake_connections_after = 1\n`,
  });
}, 60_000);
afterAll(() => fleet?.stop());

describe.each(["nginx", "caddy"] as const)("behind %s", (name) => {
  let proxy: FrontProxy;
  beforeAll(async () => {
    const ports = fleet.servers.map(({ port }) => port);
    proxy = await startProxy(name, ports, false);
  }, 30_000);
  afterAll(() => proxy?.stop());

  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await plainCall(proxy.url, method, path, body);
    if (answer.status !== 200) throw new Error(`${path} ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };

  test("sockets, polls and calls of a conn_id reach the server that has it, messages those of both", async () => {
    const room = `${name}-room`;
    const later = `${name}-later`;
    // So many that both servers get some: a proxy chooses by a hash.
    const ids = Array.from({ length: 24 }, () => crypto.randomUUID());
    const ears: Ear[] = [];
    for (const [i, id] of ids.entries()) {
      const body = { username: `${name}-${i}`, conn_id: id, channels: [room] };
      await call("POST", `/connect?conn_id=${id}`, body);
      await call("POST", `/subscribe?conn_id=${id}`, { conn_id: id, channels: [later] });
      ears.push(i % 2 === 0 ? await openSocket(proxy.url, id) : startPolling(proxy.url, id));
    }
    for (let n = 0; n < 3; n++) {
      await call("POST", "/message", [{ user: "sys", channel: n === 2 ? later : room, message: { n } }]);
      const got = await Promise.all(ears.map((ear) => ear.inbox.next()));
      expect(got.map(({ message }) => object(message).n)).toEqual(ids.map(() => n));
    }
    await call("POST", "/message", [
      { user: "sys", pm_users: [`${name}-0`, `${name}-1`], message: { pm: 1 } },
    ]);
    for (const ear of ears.slice(0, 2)) expect((await ear.inbox.next()).message).toEqual({ pm: 1 });
    const sizes = await Promise.all(
      fleet.servers.map(async ({ url }) => {
        const { body } = await plainCall(url, "POST", "/info", { info: { channels: [room] } });
        return Number(
          object(object(object(body).channels)[room] ?? { total_connections: 0 }).total_connections,
        );
      }),
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ids.length);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    for (const id of ids) expect(await call("GET", `/disconnect?conn_id=${id}`)).toBe(true);
    for (const ear of ears) await ear.close();
  }, 60_000);
});
