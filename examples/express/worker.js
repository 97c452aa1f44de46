/** Answers the searches of the page, on the own channel of the user that searched. */
import { createClient } from "redis";

const ARTICLES = [
  "How to join a room",
  "How to leave a room",
  "Who can read a private message",
  "How to change a name",
];

const find = (words) => ARTICLES.filter((title) => title.toLowerCase().includes(String(words).toLowerCase()));

const bus = createClient({ url: process.env.REDIS_URL });
bus.on("error", (error) => console.error(`redis: ${error.message}`));
await bus.connect();
const searches = bus.duplicate();
await searches.connect();
await searches.pSubscribe("push:room:*:search", async (text) => {
  const { user, payload } = JSON.parse(text);
  const titles = find(payload?.words ?? "");
  await bus.publish(`to:user:${user}:found`, JSON.stringify({ titles }));
});
