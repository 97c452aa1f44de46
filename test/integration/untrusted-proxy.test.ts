import { afterEach, expect, test } from "bun:test";
import { sign } from "../../src/auth/signature.ts";
import { ADMIN_SECRET, startWorld, type World } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(toml = ""): Promise<World> {
  const world = await startWorld("embedded", { toml });
  ends.push(() => world.stop());
  return world;
}

/** Headers that proxies add: nginx, Caddy and Traefik, those of RFC 7239, and HTTP's own. */
const FORWARDED = [
  { "x-forwarded-for": "203.0.113.9" },
  { "x-forwarded-for": "127.0.0.1" },
  { "x-real-ip": "203.0.113.9" },
  { "x-forwarded-proto": "https" },
  { forwarded: "for=127.0.0.1" },
  { via: "1.1 proxy" },
];

const remarks = ({ channel }: World) =>
  channel.lines.filter(({ message }) => message.includes("trusted_proxies")).length;

test("requests through a proxy on this machine are not treated as local", async () => {
  const world = await start();
  const metrics = async (headers: Record<string, string>) =>
    (await fetch(`${world.channel.url}/metrics`, { headers })).status;
  expect(await metrics({})).toBe(200);
  expect(remarks(world)).toBe(0);
  for (const headers of FORWARDED) expect([headers, await metrics(headers)]).toEqual([headers, 401]);
  expect(await metrics({})).toBe(200);
  await world.channel.log.until((line) => line.message.includes("trusted_proxies"), "the warning");
  expect(world.channel.lines.find(({ message }) => message.includes("trusted_proxies"))).toMatchObject({
    level: "warn",
    peer: "127.0.0.1",
  });
  expect(remarks(world)).toBe(1);
});

test("wrong secrets sent through it do not lock out local clients", async () => {
  const world = await start();
  const signIn = async (secret: string, headers: Record<string, string> = {}) =>
    (
      await fetch(`${world.channel.url}/admin/sign_in`, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify({ secret }),
      })
    ).status;
  const remote = { "x-forwarded-for": "203.0.113.9" };
  for (let times = 0; times < 12; times++) await signIn("wrong-one", remote);
  expect(await signIn("wrong-one", remote)).toBe(429);
  expect(await signIn(ADMIN_SECRET)).toBe(204);
});

test("the limits of one address apply to it, and its clients cannot sign Channelstream calls", async () => {
  const world = await start(
    `[limits]\nconnects_per_second_per_ip = 1\n[channelstream]\nsecret = "a-secret-of-web-applications"\n`,
  );
  const remote = { "x-forwarded-for": "203.0.113.9" };
  const upgrade = async (headers: Record<string, string>) =>
    (
      await fetch(`${world.channel.url}/websocket?vsn=2.0.0`, {
        headers: {
          ...headers,
          ...{ connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
          "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
        },
        signal: AbortSignal.timeout(2000),
      }).catch(() => ({ status: 0 }))
    ).status;
  const call = async (headers: Record<string, string>) => {
    const signature = sign("tests", "a-secret-of-web-applications", Date.now());
    const signed = { "x-channelstream-secret": signature, "content-type": "application/json", ...headers };
    const options = { method: "POST", headers: signed, body: "[]" };
    return (await fetch(`${world.channel.url}/message`, options)).status;
  };
  expect([await call({}), await call(remote)]).toEqual([200, 403]);
  const refused: number[] = [];
  for (let times = 0; times < 40; times++) refused.push(await upgrade(remote));
  expect(refused).toContain(429);
});

test("a listed proxy is trusted, without a warning", async () => {
  const world = await start('trusted_proxies = ["127.0.0.1"]\n');
  const metrics = async (client: string) =>
    (await fetch(`${world.channel.url}/metrics`, { headers: { "x-forwarded-for": client } })).status;
  expect([await metrics("203.0.113.9"), await metrics("127.0.0.1")]).toEqual([401, 200]);
  expect(remarks(world)).toBe(0);
});
