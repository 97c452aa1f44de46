import { parsePayload } from "./payload.ts";

/** What a snippet publishes or pushes. */
export interface Example {
  readonly channel: string;
  readonly user: string;
  readonly event: string;
  /** JSON, or bytes as `hex: ff 00`. */
  readonly payload: string;
}

export const LANGUAGES = ["curl", "Python", "JavaScript"] as const;
export type Language = (typeof LANGUAGES)[number];

export function snippet(language: Language, example: Example): string {
  return { curl, Python: python, JavaScript: javascript }[language](example);
}

/** `https://host/prefix`, without a trailing slash. */
function baseUrl(): string {
  return new URL(".", location.href).href.replace(/\/$/, "");
}

/** The bytes of a payload, or `null` if it is JSON. */
function bytesOf(payload: string): Uint8Array | null {
  const parsed = parsePayload(payload);
  return parsed.type === "bytes" ? parsed.bytes : null;
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Escapes that every POSIX `printf` knows. */
function octalEscapes(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

/** Quotes for a POSIX shell. */
function shellString(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A string literal that is valid in JavaScript, Python and JSON. */
function stringLiteral(text: string): string {
  return JSON.stringify(text);
}

/** The pattern that matches all pushes to a channel. */
function pushPattern(channel: string): string {
  return `from:${channel.replace(/[*?[\]\\]/g, "\\$&")}:*`;
}

/** A shell command that publishes JSON through Redis. */
export function publishCommand(channel: string, event: string, payload: string): string {
  return `redis-cli publish ${shellString(`to:${channel}:${event}`)} ${shellString(payload)}`;
}

function curl({ channel, user, event, payload }: Example): string {
  const bytes = bytesOf(payload);
  const field =
    bytes === null
      ? `"payload": ${payload}`
      : `"base64": ${stringLiteral(btoa(String.fromCharCode(...bytes)))}`;
  const topic = shellString(`to:${channel}:${event}`);
  const publish =
    bytes === null
      ? publishCommand(channel, event, payload)
      : `printf ${shellString(octalEscapes(bytes))} | redis-cli -x publish ${topic}`;
  return `# Request a token for the channel
curl -X POST ${baseUrl()}/token \\
  -H "Content-Type: application/json" \\
  -d ${shellString(JSON.stringify({ channel, id: user }))}

# Publish to the channel, as a backend
curl -X POST ${baseUrl()}/api/publish \\
  -H "Authorization: Bearer $CHANNEL_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${shellString(`{"channel": ${stringLiteral(channel)}, "event": ${stringLiteral(event)}, ${field}}`)}

# Publish through Redis
${publish}

# Receive what clients push
redis-cli psubscribe ${shellString(pushPattern(channel))}`;
}

const PYTHON_CONSTANTS: Readonly<Record<string, string>> = { true: "True", false: "False", null: "None" };

/** JSON text as a Python literal. Numbers are kept as they are written. */
function pythonLiteral(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|true|false|null/g, (token) =>
    token.startsWith('"') ? stringLiteral(JSON.parse(token)) : (PYTHON_CONSTANTS[token] ?? token),
  );
}

function pythonPayload(payload: string): string {
  const parsed = parsePayload(payload);
  if (parsed.type === "bytes") return `bytes.fromhex(${stringLiteral(hexOf(parsed.bytes))})`;
  return `json.dumps(${parsed.type === "json" ? pythonLiteral(payload) : payload})`;
}

function python({ channel, event, payload }: Example): string {
  return `import json

import redis

r = redis.Redis()

# Publish to all clients of the channel
r.publish(${stringLiteral(`to:${channel}:${event}`)}, ${pythonPayload(payload)})

# Receive what clients push
p = r.pubsub()
p.psubscribe(${stringLiteral(pushPattern(channel))})
for message in p.listen():
    if message["type"] == "pmessage":
        print(message["channel"].decode(), message["data"])`;
}

function javascript({ channel, user, event, payload }: Example): string {
  const bytes = bytesOf(payload);
  const argument = bytes === null ? payload : `new Uint8Array([${[...bytes].join(", ")}]).buffer`;
  return `// In a page, with <script src="${baseUrl()}/phoenix.js"></script>
const response = await fetch("${baseUrl()}/token", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ channel: ${stringLiteral(channel)}, id: ${stringLiteral(user)} }),
});
const { token } = await response.json();

const socket = new Phoenix.Socket("${baseUrl().replace(/^http/, "ws")}/websocket");
socket.connect();
const channel = socket.channel(${stringLiteral(channel)}, { token });
channel.on(${stringLiteral(event)}, (payload) => console.log(payload));
channel
  .join()
  .receive("ok", () => channel.push(${stringLiteral(event)}, ${argument}))
  .receive("error", ({ reason }) => console.error("join rejected:", reason));`;
}
