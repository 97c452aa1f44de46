import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { call } from "./api-client.ts";
import { connectPhoenix, type PhoenixClient, type TokenClaims } from "./phoenix-client.ts";
import { listenSse } from "./sse-client.ts";
import { startWorld, type World } from "./world.ts";

/*
 * `/channel.d.ts`, with the compiler: a page that uses it compiles, mistakes do not, and what a server really sends conforms.
 */

const ROOT = join(import.meta.dir, "../..");

const TOML = `
[channels."board:*"]
client_events = ["cursor"]
client_events_sender = true
history = 100
last_value = true
presence_meta = true
[channels."count:*"]
presence = "count"
`;

/** The package has no types of its own: those that pages have for it leave answers and payloads open, as these do. */
const PHOENIX = `
export interface Push {
  receive(status: string, callback: (response: any) => unknown): Push;
}
export interface Channel {
  on(event: string, callback: (payload: any) => unknown): number;
  join(): Push;
  push(event: string, payload: object): Push;
}
export class Socket {
  constructor(endPoint: string, options?: object);
  connect(): void;
  channel(topic: string, params?: object | (() => object)): Channel;
}
export class Presence {
  constructor(channel: Channel);
  list<T>(chooser: (user: string, entry: any) => T): T[];
}
`;

/** A page. */
const PAGE = `
import { Presence, Socket } from "phoenix";
import type {
  Api, ApiError, HttpCode, JoinAnswer, JoinError, JoinPayload, Position, PresenceMeta, PushError, ServerEvents, SseMessage, Stamped,
} from "./channel";

type Meta = { readonly name: string };
type Cursor = { readonly x: number; readonly y: number };

const request: Api["POST /token"]["body"] = { channel: "board:1", id: "alice" };
const response = await fetch("token", { method: "POST", body: JSON.stringify(request) });
if (!response.ok) {
  const { error, code }: ApiError<Api["POST /token"]["code"]> = await response.json();
  if (code === "token_channel_not_given") throw new Error(error);
}
const { token }: Api["POST /token"]["answer"] = await response.json();

const socket = new Socket("/websocket");
let position: Position | null = null;
const channel = socket.channel("board:1", (): JoinPayload<Meta> => ({ token, presence: { name: "Alice" }, recover: position }));
channel.on("cursor", ({ user, payload }: Stamped<Cursor>) => console.log(user, payload.x + payload.y));
channel.on("gap", ({ reason }: ServerEvents["gap"]) => reason === "too old" && location.reload());
const presence = new Presence(channel);
presence.list((user: string, { metas }: { metas: PresenceMeta<Meta>[] }) => [user, metas[0]?.name, metas[0]?.online_at]);
channel
  .join()
  .receive("ok", ({ client_events = [], recovered, position: now }: JoinAnswer) => {
    position = now ?? null;
    if (recovered === false) location.reload();
    if (client_events.includes("cursor")) {
      const cursor: Cursor = { x: 1, y: 2 };
      channel.push("cursor", cursor).receive("error", ({ reason }: PushError) => {
        if (reason === "too many client events") console.log("slower");
      });
    }
  })
  .receive("error", ({ reason, code }: JoinError) => {
    if (reason === "token expired" || code === "channel_not_covered") console.log("another token");
  });
socket.connect();

new EventSource("sse?channel=prices").onmessage = ({ data }) => {
  const { event, payload }: SseMessage<number> = JSON.parse(data);
  console.log(event, payload?.toFixed(2));
};

const texts = { bus_away: "try again", payload_too_large: "too large" } satisfies Partial<Record<HttpCode, string>>;
console.log(texts);
`;

/** One mistake a line, behind the import. */
const MISTAKES = [
  "JoinPayload = { recover: 17 }",
  'JoinPayload = { replay: "all" }',
  'JoinPayload<{ name: string }> = { presence: { nmae: "Alice" } }',
  'JoinAnswer = { id: "x", client_events: "cursor" }',
  'JoinAnswer = { recovered: true, position: "a-1" }',
  'JoinError = { reason: "not a reason" }',
  'JoinError = { reason: "unauthorized", code: "bad_signature" }',
  'PushError = { reason: "token expired" }',
  'PresenceState<{ name: string }> = { alice: { metas: [{ phx_ref: "1", online_at: 5, name: "A" }] } }',
  'ServerEvents["gap"] = { position: null, reason: "gap" }',
  'Stamped<number> = { user: "alice", payload: "1" }',
  'SseMessage = { channel: "a", event: "b" }',
  'Api["GET /api/nothing"] = {}',
  'Api["POST /api/publish"]["body"] = { channel: "a", event: "b", paylaod: 1 }',
  'Api["GET /api/channels"]["query"] = { sort: "size" }',
  'Api["POST /api/tokens"]["answer"]["expires_at"] = "tomorrow"',
  'ApiError<Api["GET /api/bans"]["code"]> = { error: "", code: "history_off" }',
];

let world: World;
let folder: string;
beforeAll(async () => {
  world = await startWorld("redis", { toml: TOML });
  folder = mkdtempSync(join(tmpdir(), "channel-declaration-"));
  writeFileSync(join(folder, "phoenix.d.ts"), PHOENIX);
  writeFileSync(
    join(folder, "channel.d.ts"),
    await (await fetch(`${world.channel.url}/channel.d.ts`)).text(),
  );
}, 60_000);
afterAll(async () => {
  await world?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

const STRICT = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };

/** Compiles a file beside the declaration. Returns what the compiler prints. */
async function compile(name: string, text: string): Promise<string> {
  writeFileSync(join(folder, `${name}.ts`), text);
  const compilerOptions = {
    ...STRICT,
    ...{ target: "ESNext", module: "ESNext", moduleResolution: "bundler", moduleDetection: "force" },
    ...{ lib: ["ESNext", "DOM", "DOM.Iterable"], types: [], paths: { phoenix: ["./phoenix.d.ts"] } },
    // The declaration is checked too.
    ...{ skipLibCheck: false, noEmit: true },
  };
  const project = join(folder, `${name}.json`);
  writeFileSync(project, JSON.stringify({ compilerOptions, files: [`${name}.ts`, "channel.d.ts"] }));
  const command = [join(ROOT, "node_modules/.bin/tsc"), "--pretty", "false", "--project", project];
  const child = Bun.spawn(command, { cwd: folder, stdout: "pipe", stderr: "inherit" });
  const printed = await new Response(child.stdout).text();
  return (await child.exited) === 0 && printed === "" ? "" : `${printed}\nexit code ${child.exitCode}`;
}

test("a page that uses phoenix.js and the declaration compiles", async () => {
  expect(await compile("page", PAGE)).toBe("");
}, 60_000);

test("the examples of docs/types.md compile", async () => {
  const page = readFileSync(join(ROOT, "docs/types.md"), "utf8");
  const examples = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
  expect(examples.length).toBe(2);
  for (const [index, text] of examples.entries()) expect(await compile(`docs${index}`, text)).toBe("");
}, 60_000);

test("a page with mistakes does not: each is an error", async () => {
  const names = [...new Set(MISTAKES.map((mistake) => /^\w+/.exec(mistake)?.[0] ?? ""))];
  const lines = MISTAKES.map((mistake, index) => `export const wrong${index}: ${mistake};`);
  const printed = await compile(
    "wrong",
    [`import type { ${names.join(", ")} } from "./channel";`, ...lines].join("\n"),
  );
  const found = new Set([...printed.matchAll(/^wrong\.ts\((\d+),/gm)].map(([, line]) => Number(line)));
  expect(MISTAKES.filter((_mistake, index) => !found.has(index + 2))).toEqual([]);
}, 60_000);

/** Values that a server sent, as constants of a type: surplus keys are errors. */
class Observed {
  readonly #lines: string[] = [];

  add(type: string, ...values: readonly unknown[]): void {
    for (const value of values) {
      expect({ [type]: value }).not.toEqual({ [type]: undefined });
      this.#lines.push(`export const value${this.#lines.length}: C.${type} = ${JSON.stringify(value)};`);
    }
  }

  /** An answer of the API, and its status. */
  async api(
    operation: string,
    status: number,
    path = operation.split(" ")[1] ?? "",
    body?: unknown,
  ): Promise<void> {
    const [method] = operation.split(" ");
    const answer = await call(world.channel.url, path, {
      ...(body === undefined ? {} : { body }),
      ...(method === "DELETE" ? { method } : {}),
    });
    expect([operation, answer.status, answer.body]).toEqual([operation, status, expect.anything()]);
    const part = JSON.stringify(operation);
    this.add(status === 200 ? `Api[${part}]["answer"]` : `ApiError<C.Api[${part}]["code"]>`, answer.body);
    if (body !== undefined && status === 200) this.add(`Api[${part}]["body"]`, body);
  }

  get text(): string {
    return ['import type * as C from "./channel";', ...this.#lines].join("\n");
  }
}

async function response(
  client: PhoenixClient,
  topic: string,
  claims: TokenClaims,
  join: object,
): Promise<unknown> {
  return (await client.join(topic, { token: world.token(topic, claims), ...join })).response;
}

test("what a server sends to clients conforms", async () => {
  const seen = new Observed();
  const [alice, bob] = [await world.connect(), await world.connect()];
  const presence = { name: "Alice" };
  seen.add("JoinPayload<{ name: string }>", { token: "t", presence, recover: null, replay: 2, other: [] });
  seen.add("JoinAnswer", await response(alice, "room:1", {}, {}));
  seen.add("JoinAnswer", await response(alice, "board:1", {}, { presence, recover: null, replay: 2 }));
  seen.add("JoinAnswer", await response(bob, "board:2", {}, { recover: "nothing" }));
  seen.add("JoinAnswer", await response(bob, "board:1", { id: "bob", can: ["join", "presence"] }, {}));
  seen.add(
    'ServerEvents<{ name?: string }>["presence_state"]',
    (await bob.event("presence_state", "board:1")).payload,
  );

  const refused = [
    (await bob.join("room:1")).response,
    (await bob.join("room:1", { token: world.token("room:2") })).response,
    await response(bob, "room:1", { can: ["push"] }, {}),
    await response(bob, "room:1", {}, { presence: 5 }),
    (await bob.join("room:1", { token: world.token("room:1", { exp: 1000 }) })).response,
  ];
  seen.add("JoinError", ...refused);
  for (const [topic, event, payload] of [
    ["board:1", "cursor", "{}"],
    ["room:3", "say", "{}"],
  ] as const) {
    seen.add("PushError", (await bob.ask({ joinRef: null, topic, event, payload })).response);
  }
  seen.add("PushError", (await alice.ask({ joinRef: null, topic: "board:1", event: "a:b" })).response);
  seen.add(
    "PushError",
    (await alice.ask({ joinRef: null, topic: "board:1", event: "presence", payload: "5" })).response,
  );
  const push = { joinRef: null, topic: "board:1", event: "cursor", payload: '{"x":1}' };
  seen.add("PushAnswer", (await alice.ask(push)).response);
  seen.add("Stamped<{ x: number }>", (await bob.event("cursor")).payload);
  await alice.ask({ joinRef: null, topic: "board:1", event: "presence", payload: '{"name":"Al"}' });
  const renamed = await bob.frames.until(
    ({ event, payload }) => event === "presence_diff" && JSON.stringify(payload).includes('"Al"'),
    "the diff of a renamed member",
  );
  seen.add("PresenceDiff<{ name?: string }>", renamed.payload);
  await response(alice, "count:1", {}, {});
  seen.add("PresenceCount", (await alice.event("presence_count")).payload);
  await response(alice, "system", {}, {});
  seen.add("SystemClock", (await alice.event("datetime")).payload);

  const reader = await listenSse(
    world.channel.port,
    `/sse?channel=board:1&token=${world.token("board:1", { id: "reader" })}`,
  );
  await world.backend.publish("to:board:1:news", '{"n":1}');
  await world.backend.publish("to:board:1:photo", Buffer.from([0, 255]));
  seen.add('ServerEvents["position"]', (await alice.event("position")).payload);
  const message = await reader.events.until(({ data }) => data.includes('"news"'), "the message");
  await reader.events.until(({ data }) => data.includes('"photo"'), "the binary message");
  seen.add("SseMessage<{ n: number }>", JSON.parse(message.data));
  for (const { event, data } of reader.events.all) {
    if (data.includes('"photo"')) seen.add("SseMessage", JSON.parse(data));
    if (event === "ready") seen.add('SseEvents["ready"]', JSON.parse(data));
  }
  await world.backend.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
  seen.add('ServerEvents["gap"]', (await alice.event("gap")).payload);
  const gap = await reader.events.until(({ event }) => event === "gap", "a gap");
  seen.add('SseEvents["gap"]', JSON.parse(gap.data));
  reader.cut();
  expect(await compile("clients", seen.text)).toBe("");
}, 60_000);

test("what the API answers conforms", async () => {
  const seen = new Observed();
  const client = await connectPhoenix(world.channel.url);
  await response(client, "board:9", { id: "carol" }, { recover: null });
  const channel = "board:9";
  await seen.api("POST /token", 200, "/token", { channel: "room:1", id: "dave" });
  await seen.api("POST /token", 422, "/token", {});
  await seen.api("POST /api/publish", 200, "/api/publish", {
    channel,
    event: "e",
    payload: { n: 1 },
    id: "once",
  });
  await seen.api("POST /api/publish", 200, "/api/publish", {
    channels: [channel, "x"],
    event: "e",
    base64: "AP8=",
  });
  await seen.api("POST /api/publish", 422, "/api/publish", { channel, event: "phx_join", payload: 1 });
  await seen.api("POST /api/publish", 404, "/api/publish", {
    channel,
    connection: "none",
    event: "e",
    payload: 1,
  });
  for (const list of ["stats", "history", "servers", "channels", "connections", "bans", "revocations"]) {
    await seen.api(`GET /api/${list}`, 200);
  }
  await seen.api("GET /api/channels/{name}", 200, `/api/channels/${channel}`);
  await seen.api("GET /api/channels/{name}", 404, "/api/channels/nothing");
  await seen.api("GET /api/channels/{name}/history", 200, `/api/channels/${channel}/history`);
  await seen.api("GET /api/channels/{name}/history", 410, `/api/channels/${channel}/history?since=none`);
  await seen.api("GET /api/channels/{name}/last", 200, `/api/channels/${channel}/last`);
  await seen.api("POST /api/tokens", 200, "/api/tokens", {
    channels: { "room:*": ["join"] },
    expires_in: "1h",
  });
  await seen.api("POST /api/kick", 404, "/api/kick", { channel, id: "nobody" });
  await seen.api("POST /api/kick", 200, "/api/kick", { channel, id: "carol" });
  await seen.api("POST /api/disconnect", 200, "/api/disconnect", { id: "carol", ban: 60 });
  await seen.api("DELETE /api/bans/{id}", 200, "/api/bans/carol");
  await seen.api("POST /api/revocations", 200, "/api/revocations", { jti: "j", expires_in: 60 });
  await seen.api("DELETE /api/connections/{id}", 404, "/api/connections/none");
  client.socket.cut();
  expect(await compile("api", seen.text)).toBe("");
}, 60_000);
