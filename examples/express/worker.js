/** Answers the searches of the page: takes calls from a list in Redis. Several workers share the work. */
import { createClient } from "redis";

const ARTICLES = [
  "How to join a room",
  "How to leave a room",
  "Who can read a private message",
  "How to change a name",
];

function answer(payload) {
  if (typeof payload?.words !== "string")
    return { status: "error", response: { reason: "words must be text" } };
  const words = payload.words.toLowerCase();
  return {
    status: "ok",
    response: { titles: ARTICLES.filter((title) => title.toLowerCase().includes(words)) },
  };
}

const bus = createClient({ url: process.env.REDIS_URL });
bus.on("error", (error) => console.error(`redis: ${error.message}`));
await bus.connect();
for (;;) {
  const taken = await bus.blPop("queue:help", 0);
  const call = JSON.parse(taken.element); // of Channel: always JSON
  // Later the page has given up.
  if (Date.now() < call.deadline)
    await bus.publish(`reply:${call.reply}`, JSON.stringify(answer(call.payload)));
}
