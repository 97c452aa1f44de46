import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { sign } from "../../../src/auth/signature.ts";
import { findPython } from "../python.ts";
import { startWorld } from "../world.ts";
import { object, openSocket, type Rig, SECRET, startRig } from "./rig.ts";

/** Signatures as the Python package makes them: `[text, secret, age in seconds]` each. */
function signByPython(wanted: readonly (readonly [string, string, number])[]): string[] {
  const script = `
import json, sys, time
from itsdangerous import TimestampSigner
class At(TimestampSigner):
    def get_timestamp(self):
        return int(time.time()) - self.age
signed = []
for text, secret, age in json.loads(sys.argv[1]):
    signer = At(secret)
    signer.age = age
    signed.append(signer.sign(text).decode())
print(json.dumps(signed))`;
  const python = findPython("itsdangerous");
  const { stdout, stderr, exitCode } = Bun.spawnSync([python, "-c", script, JSON.stringify(wanted)]);
  if (exitCode !== 0) throw new Error(String(stderr));
  const signed: unknown = JSON.parse(String(stdout));
  if (!Array.isArray(signed)) throw new Error("no list of signatures");
  return signed.map(String);
}

describe("signatures", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.stop());

  async function statusOf(signature: string | null, path = "/info"): Promise<number> {
    return (await rig.call("POST", path, undefined, { signature })).status;
  }

  test("those that itsdangerous makes are good, whatever text they sign", async () => {
    const good = signByPython([
      ["/connect", SECRET, 0],
      ["channelstream", SECRET, 30],
      ["", SECRET, 0],
      ["a.b.c", SECRET, 0],
      // Valid for 60 s, of which the calls below may take some.
      ["x", SECRET, 45],
    ]);
    for (const signature of good) {
      expect(await statusOf(signature)).toBe(200);
      expect(await statusOf(null, `/info?secret=${encodeURIComponent(signature)}`)).toBe(200);
    }
  });

  test("ours are those that itsdangerous makes", () => {
    const now = 1_700_000_000_000;
    const script = `
from itsdangerous import TimestampSigner
class At(TimestampSigner):
    def get_timestamp(self):
        return 1700000000
print(At("key").sign("text").decode())`;
    const { stdout } = Bun.spawnSync([findPython("itsdangerous"), "-c", script]);
    expect(sign("text", "key", now)).toBe(String(stdout).trim());
  });

  test("one that is too old, from the future, cut, padded or for another secret is not", async () => {
    const [good = "", old = "", future = "", foreign = ""] = signByPython([
      ["x", SECRET, 0],
      ["x", SECRET, 62],
      ["x", SECRET, -30],
      ["x", "another", 0],
    ]);
    const bad = [
      old,
      future,
      foreign,
      good.slice(0, -1),
      `${good}=`,
      `${good}A`,
      `y${good}`,
      good.replace(".", "!"),
      good.split(".").slice(1).join("."),
      `${good.slice(0, -1)}${good.endsWith("A") ? "B" : "A"}`,
      "x",
      "x.y.z",
      "..",
      "\u00e9",
      "x".repeat(9000),
    ];
    for (const signature of bad) {
      const answer = await rig.call("POST", "/info", undefined, { signature });
      expect([signature, answer.status, answer.body]).toEqual([signature, 401, { request: "Bad Signature" }]);
    }
    expect(await statusOf(null)).toBe(403);
    expect(await statusOf("")).toBe(403);
  });

  test("a wrong one is refused even where none is needed, and none is needed by clients", async () => {
    const id = await rig.connect("ann", []);
    for (const path of [`/listen?conn_id=${id}`, `/disconnect?conn_id=${id}`]) {
      expect((await rig.call("GET", path, undefined, { signature: "x.y.z" })).status).toBe(401);
    }
    expect((await rig.call("GET", `/disconnect?conn_id=${id}`, undefined, { signature: null })).body).toBe(
      true,
    );
  });

  test("no log line holds one, nor the secret", async () => {
    await rig.call("POST", `/info?secret=${sign("seen?", SECRET, Date.now())}`, undefined, {
      signature: null,
    });
    const output = rig.world.channel.output();
    expect(output).not.toContain(SECRET);
    expect(output).not.toContain("seen?");
  });
});

test("a signature is good for ever where validate_requests is false", async () => {
  const rig = await startRig("validate_requests = false");
  try {
    const [old = "", foreign = ""] = signByPython([
      ["x", SECRET, 1_000_000],
      ["x", "another", 1_000_000],
    ]);
    expect((await rig.call("POST", "/info", undefined, { signature: old })).status).toBe(200);
    expect((await rig.call("POST", "/info", undefined, { signature: foreign })).status).toBe(401);
  } finally {
    await rig.stop();
  }
});

test("calls come from the addresses that may post, after trusted proxies; clients from anywhere", async () => {
  const rig = await startRig(
    'allow_posting_from = ["192.0.2.7", "2001:db8::1"]',
    "embedded",
    'trusted_proxies = ["127.0.0.1"]',
  );
  try {
    const from = (address: string) => ({ headers: { "x-forwarded-for": address } });
    const connect = { username: "ann" };
    const good = await rig.call("POST", "/connect", connect, from("192.0.2.7"));
    expect(good.status).toBe(200);
    expect((await rig.call("POST", "/connect", connect, from("2001:DB8:0::1"))).status).toBe(200);
    for (const address of ["192.0.2.8", "127.0.0.1", "192.0.2.7, 192.0.2.8"]) {
      expect((await rig.call("POST", "/connect", connect, from(address))).status).toBe(403);
    }
    // With no allowed address, no signature is checked.
    expect(
      (await rig.call("POST", "/connect", connect, { ...from("192.0.2.8"), signature: "bad" })).status,
    ).toBe(403);
    const id = String(object(good.body).conn_id);
    const gone = await rig.call("GET", `/disconnect?conn_id=${id}`, undefined, {
      ...from("192.0.2.8"),
      signature: null,
    });
    expect(gone.body).toBe(true);
  } finally {
    await rig.stop();
  }
});

test("0.0.0.0 lets every address post", async () => {
  const rig = await startRig(
    'allow_posting_from = ["0.0.0.0"]',
    "embedded",
    'trusted_proxies = ["127.0.0.1"]',
  );
  try {
    const headers = { "x-forwarded-for": "203.0.113.9" };
    expect((await rig.call("POST", "/info", undefined, { headers })).status).toBe(200);
  } finally {
    await rig.stop();
  }
});

test("plain HTTP is refused where enforce_https says so: all of this protocol's calls, and no other page", async () => {
  const rig = await startRig("enforce_https = true", "embedded", 'trusted_proxies = ["127.0.0.1"]');
  try {
    for (const path of ["/connect", "/listen?conn_id=x", "/disconnect", "/admin/admin.json"]) {
      const method = path.startsWith("/listen") ? "GET" : "POST";
      const { status, body } = await rig.call(method, path, method === "POST" ? {} : undefined);
      const refusal = {
        message: "\n\n\nSSL is required\n\n",
        code: "406 Not Acceptable",
        title: "Not Acceptable",
      };
      expect([path, status, body]).toEqual([path, 406, refusal]);
    }
    const headers = { "x-forwarded-proto": "https" };
    const { status, body } = await rig.call("POST", "/connect", { username: "ann" }, { headers });
    expect(status).toBe(200);
    expect((await fetch(`${rig.url}/health`)).status).toBe(200);
    const ear = await openSocket(rig.url, String(object(body).conn_id));
    await ear.close();
  } finally {
    await rig.stop();
  }
});

test("pages of the hosts in allow_cors may connect, and read what they are answered; no others", async () => {
  const rig = await startRig('allow_cors = ["example.org", "https://app.example.net"]');
  try {
    const id = await rig.connect("ann", []);
    const ask = (origin: string, method = "GET") =>
      fetch(`${rig.url}/disconnect?conn_id=${crypto.randomUUID()}`, { method, headers: { origin } });
    const socket = async (origin: string): Promise<number> => {
      const key = "AAAAAAAAAAAAAAAAAAAAAA==";
      const headers = {
        origin,
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
      };
      return (await fetch(`${rig.url}/ws?conn_id=${id}`, { headers })).status;
    };
    for (const origin of ["http://example.org", "https://example.org:8443", "https://app.example.net"]) {
      const response = await ask(origin);
      expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([200, origin]);
      const preflight = await ask(origin, "OPTIONS");
      expect([preflight.status, await preflight.text()]).toEqual([200, ""]);
      expect(preflight.headers.get("access-control-allow-methods")).toContain("PATCH");
      expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
    }
    for (const origin of [
      "http://notexample.org",
      "http://example.org.evil.test",
      "http://app.example.net",
      "null",
    ]) {
      const response = await ask(origin);
      expect([origin, response.status]).toEqual([origin, 403]);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
      expect(await socket(origin)).toBe(403);
    }
    // Our own pages always may.
    expect((await ask(rig.url)).status).toBe(200);
  } finally {
    await rig.stop();
  }
});

test("without a list allowed_origins holds", async () => {
  const rig = await startRig("", "embedded", 'allowed_origins = ["https://example.org"]');
  try {
    const ask = (origin: string) =>
      fetch(`${rig.url}/disconnect?conn_id=${crypto.randomUUID()}`, { headers: { origin } });
    expect((await ask("https://example.org")).status).toBe(200);
    expect((await ask("https://example.com")).status).toBe(403);
  } finally {
    await rig.stop();
  }
});

test("messages have date beside timestamp where legacy_date says so", async () => {
  const rig = await startRig("legacy_date = true");
  try {
    const id = await rig.connect("ann", ["room"], { channel_configs: { room: { store_history: true } } });
    const ear = await rig.listen(id);
    const [sent] = await rig.send({ user: "sys", channel: "room", message: {} });
    const got = await ear.inbox.next();
    expect([got.date, got.timestamp]).toEqual([sent?.timestamp, sent?.timestamp]);
    await rig.world.backend.publish("to:room:x", "1");
    const other = await ear.inbox.next();
    expect(other.date).toBe(other.timestamp);
  } finally {
    await rig.stop();
  }
});

test("without a secret there is none of this", async () => {
  const world = await startWorld("embedded");
  try {
    for (const path of ["/connect", "/message", "/listen", "/ws", "/admin/admin.json"]) {
      expect((await fetch(world.channel.url + path)).status).toBe(404);
    }
  } finally {
    await world.stop();
  }
});
