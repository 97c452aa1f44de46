/** The same as the page does, for other programs. */
export interface Example {
  readonly channel: string;
  readonly user: string;
  readonly event: string;
  /** JSON text. */
  readonly payload: string;
}

export const LANGUAGES = ["curl", "Python", "JavaScript"] as const;
export type Language = (typeof LANGUAGES)[number];

/** `https://host/prefix`, without a slash at the end. */
function base(): string {
  return new URL(".", location.href).href.replace(/\/$/, "");
}

/** A text in single quotes for a shell. */
function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A text as JavaScript and Python both write it. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

export function snippet(language: Language, example: Example): string {
  return { curl, Python: python, JavaScript: javascript }[language](example);
}

function curl({ channel, user, event, payload }: Example): string {
  return `# A token for the channel
curl -X POST ${base()}/token \\
  -H "Content-Type: application/json" \\
  -d ${shell(JSON.stringify({ channel, id: user }))}

# Speak to the channel as a backend does
curl -X POST ${base()}/api/publish \\
  -H "Authorization: Bearer $CHANNEL_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${shell(`{"channel": ${quoted(channel)}, "event": ${quoted(event)}, "payload": ${payload}}`)}

# The same through Redis, and what clients push
redis-cli publish ${shell(`to:${channel}:${event}`)} ${shell(payload)}
redis-cli psubscribe ${shell(`from:${channel.replace(/[*?[\]\\]/g, "\\$&")}:*`)}`;
}

function python({ channel, event, payload }: Example): string {
  const from = `from:${channel.replace(/[*?[\]\\]/g, "\\$&")}:*`;
  return `import json
import redis

r = redis.Redis()

# Speak to every client of the channel
payload = json.loads(${quoted(payload)})
r.publish(${quoted(`to:${channel}:${event}`)}, json.dumps(payload))

# Hear what they push
p = r.pubsub()
p.psubscribe(${quoted(from)})
for message in p.listen():
    if message["type"] == "pmessage":
        print(message["channel"].decode(), message["data"])`;
}

function javascript({ channel, user, event, payload }: Example): string {
  return `// <script src="${base()}/phoenix.js"></script>, or: import { Socket } from "phoenix"
const answer = await fetch("${base()}/token", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ channel: ${quoted(channel)}, id: ${quoted(user)} }),
});
const { token } = await answer.json();

const socket = new Phoenix.Socket("${base().replace(/^http/, "ws")}/websocket");
socket.connect();
const channel = socket.channel(${quoted(channel)}, { token });
channel.on(${quoted(event)}, (payload) => console.log(payload));
channel
  .join()
  .receive("ok", () => channel.push(${quoted(event)}, ${payload}))
  .receive("error", ({ reason }) => console.log("refused", reason));`;
}
