/**
 * A chat by Express: the application knows who is signed in, Channel carries the messages.
 * `npm run demo:express` starts it, with Channel and worker.js.
 */
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import cookieSession from "cookie-session";
import express from "express";
import { createClient } from "redis";

const { CHANNEL_URL, JWT_SECRET, PORT, REDIS_URL, SESSION_SECRET } = process.env;
const LOBBY = fileURLToPath(new URL("../lobby/", import.meta.url));
const NAME = /^[a-z0-9]{1,20}$/;

const bus = createClient({ url: REDIS_URL });
bus.on("error", (error) => console.error(`redis: ${error.message}`));
await bus.connect();

/** A token for the room; it covers `user:<user>` too. */
function tokenFor(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 12 * 3600;
  const signed = `${part({ alg: "HS256" })}.${part({ id: user, channel: "room:lobby", exp })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}

const sessionOf = (user) => ({ user, token: tokenFor(user) });

function signedIn(request, response, next) {
  if (request.session.user === undefined) response.status(401).json({ error: "not signed in" });
  else next();
}

const isName = (value) => typeof value === "string" && NAME.test(value);

const app = express();
app.use("/lobby", express.static(LOBBY));
// Other websites can send no JSON and get no cookie: no CSRF token is needed.
app.use(express.json(), cookieSession({ name: "express", keys: [SESSION_SECRET], sameSite: "lax" }));

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
  response.json(sessionOf(user));
});

app.get("/session", signedIn, (request, response) => {
  response.json(sessionOf(request.session.user));
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
