import { describe, expect, test } from "bun:test";
import { byText, pageOf } from "../../../src/http/api/paginate.ts";
import { LoopDelay } from "../../../src/http/loop-delay.ts";
import { FakeMember } from "../hub/fake-member.ts";
import { BEARER, ORIGIN, testHttp } from "./http.ts";

const READER = { name: "reader", keys: ["the key of a dashboard"], can: ["read"], channels: ["*"] } as const;
const PUBLISHER = {
  name: "publisher",
  keys: ["the key of a backend here"],
  can: ["publish"],
  channels: ["room:*"],
} as const;

function bearer({ keys: [key = ""] }: { readonly keys: readonly string[] }): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}

describe("a page of a list", () => {
  test("holds what sorting the whole of it would put there", () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const items = Array.from({ length: random(2000) }, (_item, index) => ({ key: random(50), index }));
      const wanted = (item: { readonly key: number }): boolean => item.key % 3 !== round % 3;
      const compare = (a: (typeof items)[0], b: (typeof items)[0]): number =>
        a.key - b.key || a.index - b.index;
      const offset = random(200);
      const limit = 1 + random(100);
      const all = items.filter(wanted).sort(compare);
      expect(pageOf(items, wanted, compare, offset, limit)).toEqual({
        matching: all.length,
        rows: all.slice(offset, offset + limit),
      });
    }
  });

  test("orders texts by their code units", () => {
    expect(["b", "a", "B", "ä", "a"].toSorted(byText)).toEqual(["B", "a", "a", "b", "ä"]);
  });
});

test("each reader of the event loop delay gets the maximum since its own last read", () => {
  const delay = new LoopDelay();
  const [first, second] = [delay.reader(), delay.reader()];
  delay.note(5);
  delay.note(3);
  expect(first()).toBe(5);
  delay.note(1);
  expect(first()).toBe(1);
  expect(second()).toBe(5);
  expect(second()).toBe(0);
});

describe("metrics", () => {
  test("are free on this machine, and for those who may read elsewhere", async () => {
    const { ask } = testHttp({ apiKeys: [READER, PUBLISHER] });
    const status = async (loopback: boolean, headers: Record<string, string> = {}): Promise<number> =>
      (await ask("/metrics", { headers, client: { loopback, address: "192.0.2.7" } })).status;
    expect(await status(true)).toBe(200);
    expect(await status(false)).toBe(401);
    expect(await status(false, BEARER)).toBe(200);
    expect(await status(false, bearer(READER))).toBe(200);
    expect(await status(false, bearer(PUBLISHER))).toBe(403);
  });
});

describe("API keys", () => {
  test("of a pattern never cover admin", async () => {
    const { ask, hub } = testHttp({ apiKeys: [READER] });
    hub.join(new FakeMember(hub.open("admin"), "c1"));
    const { status } = await ask("/api/channels/admin", { headers: bearer(READER) });
    expect(status).toBe(403);
    const named = testHttp({ apiKeys: [{ ...READER, channels: ["admin"] }] });
    expect((await named.ask("/api/channels/admin", { headers: bearer(READER) })).status).toBe(200);
  });

  test("open neither /token for patterns nor, for some channels only, the pages", async () => {
    const scoped = { ...READER, channels: ["room:*"] };
    const { token, ask } = testHttp({ apiKeys: [scoped] });
    expect((await token({ channel: "room:*" }, bearer(scoped))).status).toBe(403);
    const body = JSON.stringify({ secret: scoped.keys[0] });
    const refused = await ask("/admin/sign_in", { method: "POST", body });
    expect([refused.status, refused.headers.get("set-cookie")]).toEqual([403, null]);
  });
});

test("the pages can ask whether their visitor is signed in, and no is no error", async () => {
  const { ask } = testHttp();
  expect(await (await ask("/admin/session")).json()).toEqual({ signed_in: false });
  const entered = await ask("/admin/sign_in", {
    method: "POST",
    headers: { origin: ORIGIN },
    body: JSON.stringify({ secret: BEARER.authorization.slice(7) }),
  });
  const cookie = entered.headers.get("set-cookie")?.split(";")[0] ?? "";
  expect(await (await ask("/admin/session", { headers: { cookie } })).json()).toEqual({
    signed_in: true,
    role: "administrator",
  });
});

test("a kick by user or by agent removes only that member", async () => {
  const { ask, hub } = testHttp();
  const channel = hub.open("room");
  const [a, b, c] = [
    new FakeMember(channel, "c1", "alice"),
    new FakeMember(channel, "c2", "alice"),
    new FakeMember(channel, "c3", "bob"),
  ];
  for (const member of [a, b, c]) hub.join(member);
  const kick = async (body: object): Promise<unknown> =>
    (await ask("/api/kick", { method: "POST", headers: BEARER, body: JSON.stringify(body) })).json();
  expect(await kick({ channel: "room", agent: b.agent })).toMatchObject({ kicked: 1 });
  expect([a, b, c].map(({ events }) => events.includes("kicked"))).toEqual([false, true, false]);
  expect(await kick({ channel: "room", id: "alice" })).toMatchObject({ kicked: 2 });
  expect(await kick({ channel: "room", id: "alice", agent: a.agent })).toMatchObject({
    error: expect.stringContaining("id or agent"),
  });
  expect(c.events.includes("kicked")).toBe(false);
});

test("the description follows the prefix that the server stands behind", async () => {
  const { ask } = testHttp({ basePath: "/hub" });
  const answer: unknown = await (await ask("/openapi.json", { headers: BEARER })).json();
  expect(answer).toMatchObject({ servers: [{ url: "/hub" }] });
});
