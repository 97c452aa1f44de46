/**
 * A chat by Express: the application knows who is signed in, Channel carries the messages.
 * `npm run demo:express` starts it, with Channel and worker.js.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import cookieSession from "cookie-session";
import express from "express";
import { createClient } from "redis";

const { CHANNEL_URL, HOOK_SECRET, PORT, REDIS_URL, SESSION_SECRET } = process.env;
const LOBBY = fileURLToPath(new URL("../lobby/", import.meta.url));
const NAME = /^[a-z0-9]{1,20}$/;

const bus = createClient({ url: REDIS_URL });
bus.on("error", (error) => console.error(`redis: ${error.message}`));
await bus.connect();

/** Whether Channel signed a request within the last minute. */
function isFromChannel(request) {
  const [, time, digest] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(request.get("x-channel-signature")) ?? [];
  if (time === undefined || Math.abs(Date.now() / 1000 - Number(time)) > 60) return false;
  const expected = createHmac("sha256", HOOK_SECRET)
    .update(`${time}.`)
    .update(request.rawBody ?? "")
    .digest();
  return timingSafeEqual(expected, Buffer.from(digest, "hex"));
}

function signedIn(request, response, next) {
  if (request.session.user === undefined) response.status(401).json({ error: "not signed in" });
  else next();
}

const isName = (value) => typeof value === "string" && NAME.test(value);

/** The signature is over these bytes. */
function keepBody(request, _response, body) {
  request.rawBody = body;
}

const app = express();
app.use("/lobby", express.static(LOBBY));
// Other websites can send no JSON and get no cookie: no CSRF token is needed.
app.use(
  express.json({ verify: keepBody }),
  cookieSession({ name: "express", keys: [SESSION_SECRET], sameSite: "lax" }),
);

app.get("/", async (_request, response) => {
  const page = await readFile(join(LOBBY, "index.html"), "utf8");
  response.type("html").send(page.replaceAll("{channel}", CHANNEL_URL));
});

/** A real application checks a password here. */
app.post("/login", (request, response) => {
  const user = request.body?.user;
  if (!isName(user))
    return response.status(422).json({ error: "user must be 1 to 20 small letters and digits" });
  request.session.user = user;
  response.json({ user });
});

app.get("/session", signedIn, (request, response) => {
  response.json({ user: request.session.user });
});

/** Channel asks this at each join, with the cookie of the page. */
app.post("/channels/authorize", (request, response) => {
  if (!isFromChannel(request)) return response.status(401).json({ error: "not signed by Channel" });
  const { user } = request.session;
  const { channel, params } = request.body;
  const isOpen = ["room:lobby", `user:${user}`].includes(channel);
  if (user === undefined || params === undefined || !isOpen)
    return response.json({ allow: false, reason: "not allowed" });
  response.json({ allow: true, id: user, expires_in: 12 * 3600 });
});

/** Publishes a line to all in the room, or to all windows of two users. */
app.post("/say", signedIn, async (request, response) => {
  const { user } = request.session;
  const { text, to } = request.body ?? {};
  const isText = typeof text === "string" && text.length > 0 && text.length <= 500;
  if (!isText || !(to === undefined || isName(to)))
    return response.status(422).json({ error: "text must have 1 to 500 characters, and to be a user" });
  const channels = to === undefined ? ["room:lobby"] : new Set([`user:${user}`, `user:${to}`]);
  for (const channel of channels) await bus.publish(`to:${channel}:line`, JSON.stringify({ user, text, to }));
  response.json({});
});

app.listen(Number(PORT), "127.0.0.1");
