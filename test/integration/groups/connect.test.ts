import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startChannel } from "../channel-process.ts";
import { mint } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";
import { openWebSocket } from "../websocket.ts";
import { SECRET, startWorld, type World } from "../world.ts";
import { addressOf, connectGroups, type GroupsOptions, request } from "./groups-client.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded");
});
afterAll(() => world?.stop());

const GOOD = mint({ id: "alice", channel: "jobs" }, SECRET);
const BAD = mint({ id: "mallory", channel: "jobs" }, `not ${SECRET}`);

const HEARTBEAT = '[null,"1","phoenix","heartbeat",{}]';
const PHOENIX_REPLY = '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]';

/** The protocol of a socket, and whether it was accepted: by its first frame after a Phoenix heartbeat. */
async function spoken(
  url: string,
  options: GroupsOptions,
): Promise<"phoenix" | "accepted" | "turned away" | number> {
  const socket = await openWebSocket(addressOf(url, options), options.headers);
  if (!("messages" in socket)) return socket.status;
  try {
    socket.sendText(HEARTBEAT);
    const first = (await socket.messages.next()).data.toString();
    if (first === PHOENIX_REPLY) return "phoenix";
    if (first === '{"accept":true,"user":"alice"}') return "accepted";
    if (first === '{"accept":false,"close":true}') return "turned away";
    throw new Error(`neither protocol says ${first}`);
  } finally {
    socket.cut();
  }
}

const cookie = (text: string) => ({ cookie: text });
const bearer = { authorization: `Bearer ${GOOD}` };
const offers = (names: string) => ({ "sec-websocket-protocol": names });

describe("the protocol of an upgrade", () => {
  const CASES: readonly (readonly [
    string,
    GroupsOptions,
    "phoenix" | "accepted" | "turned away" | number,
  ])[] = [
    ["nothing said", { path: "/websocket" }, "phoenix"],
    ["a path that ends in /websocket", { path: "/socket/websocket" }, "phoenix"],
    ["?token=", { path: "/websocket", params: { token: GOOD } }, "accepted"],
    ["?token= on AWX' path", { path: "/websocket/", params: { token: GOOD } }, "accepted"],
    ["?token= on a Phoenix path", { path: "/socket/websocket", params: { token: GOOD } }, "phoenix"],
    ["?token= on phoenix.js' path", { path: "/websocket/websocket", params: { token: GOOD } }, "phoenix"],
    ["?token= that is bad", { path: "/websocket", params: { token: BAD } }, "turned away"],
    ["?token= that is empty", { path: "/websocket", params: { token: "" } }, "turned away"],
    ["AWX' path", { path: "/websocket/" }, "turned away"],
    ["our path", { path: "/groups" }, "turned away"],
    ["our path with ?token=", { path: "/groups", params: { token: GOOD } }, "accepted"],
    ["vsn and ?token=", { path: "/websocket", params: { vsn: "2.0.0", token: GOOD } }, "phoenix"],
    ["userToken and ?token=", { path: "/websocket", params: { userToken: "", token: GOOD } }, "phoenix"],
    ["vsn on AWX' path", { path: "/websocket/", params: { vsn: "2.0.0" } }, "phoenix"],
    ["vsn on our path", { path: "/groups", params: { vsn: "2.0.0" }, headers: bearer }, "phoenix"],
    ["userToken on our path", { path: "/groups", params: { userToken: GOOD } }, "phoenix"],
    ["a vsn that does not exist, on our path", { path: "/groups", params: { vsn: "9.0.0" } }, 403],
    ["subprotocol phoenix on our path", { path: "/groups", headers: offers("phoenix") }, "phoenix"],
    [
      "subprotocol phoenix among others, and ?token=",
      { path: "/websocket", params: { token: GOOD }, headers: offers("foo, phoenix") },
      "phoenix",
    ],
    ["another subprotocol", { headers: { ...offers("foo"), ...bearer } }, "accepted"],
    ["Bearer on our path", { headers: bearer }, "accepted"],
    ["Bearer on AWX' path", { path: "/websocket/", headers: bearer }, "accepted"],
    ["Bearer elsewhere", { path: "/websocket", headers: bearer }, "phoenix"],
    ["a cookie on AWX' path", { path: "/websocket/", headers: cookie(`token="${GOOD}"`) }, "accepted"],
    ["a cookie elsewhere", { path: "/websocket", headers: cookie(`token="${GOOD}"`) }, "phoenix"],
    [
      "a good cookie beside a bad ?token=, elsewhere",
      { path: "/websocket", params: { token: BAD }, headers: cookie(`token=${GOOD}`) },
      "turned away",
    ],
    [
      "a good Bearer beside an empty ?token=, elsewhere",
      { path: "/websocket", params: { token: "" }, headers: bearer },
      "turned away",
    ],
    ["a path with more behind /groups", { path: "/groups/", params: { token: GOOD } }, 404],
    ["/websocket/ further down", { path: "/x/websocket/", params: { token: GOOD } }, 404],
  ];
  for (const [what, options, expected] of CASES) {
    test(`${what}: ${expected}`, async () => {
      expect(await spoken(world.channel.url, options)).toBe(expected);
    });
  }

  test("selects no subprotocol for groups", async () => {
    for (const names of ["foo", `foo, base64url.bearer.phx.${Buffer.from(GOOD).toString("base64url")}`]) {
      const client = await connectGroups(world.channel.url, { headers: { ...offers(names), ...bearer } });
      expect(client.socket.headers.get("sec-websocket-protocol") ?? "").toBe("");
      client.socket.cut();
    }
  });

  test("asks for a WebSocket where none is asked for", async () => {
    for (const path of ["/groups", "/websocket/"]) {
      expect((await fetch(`${world.channel.url}${path}?token=${GOOD}`)).status).toBe(426);
    }
  });

  test("is Phoenix everywhere with groups turned off", async () => {
    const off = await startWorld("embedded", { toml: "groups = false\n" });
    try {
      const { url } = off.channel;
      expect(await spoken(url, { path: "/websocket", params: { token: GOOD } })).toBe("phoenix");
      expect(await spoken(url, { path: "/groups", params: { token: GOOD } })).toBe(404);
      expect(await spoken(url, { path: "/websocket/", headers: bearer })).toBe(404);
    } finally {
      await off.stop();
    }
  });

  test("knows its paths below base_path", async () => {
    const below = await startChannel({
      args: ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`],
      toml: `jwt_secret = "${SECRET}"\nbase_path = "/awx"\n`,
    });
    try {
      expect(await spoken(below.url, { path: "/awx/websocket/", headers: bearer })).toBe("accepted");
      expect(await spoken(below.url, { path: "/awx/groups", params: { token: GOOD } })).toBe("accepted");
      expect(await spoken(below.url, { path: "/groups", params: { token: GOOD } })).toBe(404);
    } finally {
      await below.stop();
    }
  });
});

describe("the token's way on the paths of groups", () => {
  const GOOD_ONES: readonly (readonly [string, GroupsOptions])[] = [
    ["a cookie as awxkit sends it", { headers: cookie(`token="${GOOD}";`) }],
    ["a cookie without quotes", { headers: cookie(`token=${GOOD}`) }],
    ["a cookie of older Tower pages", { headers: cookie(`token=%22${GOOD}%22`) }],
    [
      "a cookie among others",
      { headers: cookie(`a=b=c; xtoken=1; token=; tokens=2; token="${GOOD}"; z=1; =; ;`) },
    ],
    ["a header, its scheme in any case", { headers: { authorization: `bEARER   ${GOOD}` } }],
    [
      "the URL, before header and cookie",
      { params: { token: GOOD }, headers: { authorization: "Bearer x" } },
    ],
    ["the header, before the cookie", { headers: { ...bearer, ...cookie('token="x"') } }],
    [
      "a cookie beside another kind of header",
      { headers: { authorization: "Basic eDp5", ...cookie(`token=${GOOD}`) } },
    ],
  ];
  for (const [what, options] of GOOD_ONES) {
    test(`may be ${what}`, async () => {
      for (const path of ["/groups", "/websocket/"]) {
        expect(await spoken(world.channel.url, { ...options, path })).toBe("accepted");
      }
    });
  }

  test("sends any user's name unchanged", async () => {
    for (const user of ["__proto__", 'a"b\\', "名前", ""]) {
      const client = await connectGroups(world.channel.url, {
        params: { token: world.token("jobs", { id: user }) },
      });
      expect(await client.texts.next()).toBe(JSON.stringify({ accept: true, user }));
      client.socket.cut();
    }
  });
});

describe.concurrent("a token that is missing or bad", () => {
  const second = Math.floor(Date.now() / 1000);
  const CASES: Readonly<Record<string, GroupsOptions>> = {
    "none at all": {},
    "one of another secret": { params: { token: BAD } },
    "one that ran out": { params: { token: tokenWith({ exp: second - 60 }) } },
    "one that is not good yet": { params: { token: tokenWith({ nbf: second + 60 }) } },
    "one without a channel": { params: { token: mint({ id: "alice" }, SECRET) } },
    "one that is no token": { headers: cookie('token="x.y.z"') },
  };
  for (const [what, options] of Object.entries(CASES)) {
    test(`(${what}) is told, heard no more, and closed with 4401 2 to 5 s later`, async () => {
      // The delay begins when the server rejects the token: what is measured from here is longer.
      const began = performance.now();
      const client = await connectGroups(world.channel.url, options);
      expect(await client.next()).toEqual({ accept: false, close: true });
      client.send({ groups: { jobs: ["summary"] } });
      client.sendText("not JSON");
      expect((await client.socket.closed).code).toBe(4401);
      const after = performance.now() - began;
      expect(after).toBeGreaterThan(1900);
      expect(client.texts.all.length).toBe(1);
    }, 30_000);
  }

  test("keeps a client that comes back at once from a tight loop", async () => {
    let connections = 0;
    const until = performance.now() + 6500;
    while (performance.now() < until) {
      const client = await connectGroups(world.channel.url, { params: { token: BAD } });
      connections++;
      await client.socket.closed;
    }
    expect(connections).toBeWithin(1, 5);
  }, 20_000);

  test("does not close all sockets at the same moment", async () => {
    const began = performance.now();
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => connectGroups(world.channel.url, { params: { token: BAD } })),
    );
    const ends = await Promise.all(
      clients.map(async ({ socket }) => {
        await socket.closed;
        return performance.now() - began;
      }),
    );
    expect(Math.max(...ends) - Math.min(...ends)).toBeGreaterThan(500);
  }, 30_000);
});

function tokenWith(claims: Readonly<Record<string, unknown>>): string {
  return mint({ id: "alice", channel: "jobs", ...claims }, SECRET);
}

describe("a token that came by cookie from a page of another host", () => {
  const DENIED = { error: "access denied to channel" };
  const FOREIGN = { origin: "https://elsewhere.example" };
  let open: World;
  beforeAll(async () => {
    open = await startWorld("embedded", { toml: 'allowed_origins = "*"\n' });
  });
  afterAll(() => open?.stop());

  /** Connects and reads that the token itself is good. */
  async function enter(headers: Readonly<Record<string, string>>, params = NO_PARAMS) {
    const client = await connectGroups(open.channel.url, { path: "/websocket/", headers, params });
    const proven =
      params !== NO_PARAMS || headers.authorization !== undefined || !headers.origin || isOwn(headers.origin);
    expect(await client.next()).toEqual(proven ? { accept: true, user: "alice" } : { accept: true });
    return client;
  }

  const NO_PARAMS = {};
  const isOwn = (origin: string) => URL.parse(origin)?.host === new URL(open.channel.url).host;

  test("is of no use without a csrftoken cookie", async () => {
    for (const origin of [
      "https://elsewhere.example",
      "null",
      "http://127.0.0.1:1",
      "chrome-extension://abc",
    ]) {
      const client = await enter({ origin, ...cookie(`token="${GOOD}"; csrftoken=""`) });
      for (const xrftoken of [undefined, null, "", '""', 0, [], "null"]) {
        client.send({ groups: { jobs: ["summary"] }, xrftoken });
        expect(await client.next()).toEqual(DENIED);
      }
      await open.backend.publish("to:jobs:summary", "1");
      expect(await client.fence()).toEqual([]);
      client.socket.cut();
    }
  });

  test("needs its csrftoken repeated by every message", async () => {
    for (const quote of ["", '"', "%22"]) {
      const client = await enter({
        ...FOREIGN,
        ...cookie(`csrftoken=${quote}s3cret=${quote}; token="${GOOD}"`),
      });
      for (const xrftoken of [undefined, null, "", "s3cre", "S3CRET=", ["s3cret="], { s3cret: 1 }]) {
        client.send({ groups: { jobs: ["summary"] }, xrftoken });
        expect(await client.next()).toEqual(DENIED);
      }
      client.send({ groups: { jobs: ["summary"] }, xrftoken: "s3cret=" });
      expect(await client.next()).toEqual({ accept: true, user: "alice" });
      expect(await client.next()).toEqual({
        groups_current: ["jobs-summary"],
        groups_left: [],
        groups_joined: ["jobs-summary"],
      });
      client.send({ groups: {} });
      expect(await client.next()).toEqual(DENIED);
      client.send({ groups: { jobs: ["status_changed"] }, xrftoken: "wrong" });
      expect(await client.next()).toEqual(DENIED);
      await open.backend.publish("to:jobs:summary", '{"still":1}');
      expect(await client.next()).toEqual({ still: 1 });
      client.socket.cut();
    }
  });

  test("needs nothing more from the host asked for, or from no page", async () => {
    const host = new URL(open.channel.url).host;
    for (const headers of [{}, { origin: `http://${host}` }, { origin: `https://${host}` }]) {
      const client = await enter({ ...headers, ...cookie(`token="${GOOD}"; csrftoken=x`) });
      expect((await client.follow({ jobs: ["summary"] })).current).toEqual(["jobs-summary"]);
      client.socket.cut();
    }
  });

  test("needs nothing more where the token stood in the URL or a header", async () => {
    const byUrl = await enter(FOREIGN, { token: GOOD });
    const byHeader = await enter({ ...FOREIGN, ...bearer, ...cookie("csrftoken=x") });
    for (const client of [byUrl, byHeader]) {
      expect((await client.follow({ jobs: ["summary"] })).current).toEqual(["jobs-summary"]);
      client.socket.cut();
    }
  });

  test("does not even connect where that origin is not allowed", async () => {
    const refused = await request(world.channel.url, {
      path: "/websocket/",
      headers: { ...FOREIGN, ...cookie(`token="${GOOD}"`) },
    });
    expect("status" in refused && refused.status).toBe(403);
  });
});
