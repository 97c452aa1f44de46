// A chat that misses nothing: the newest 50 lines at first, and after each reconnection the lines in between.

const room = new URLSearchParams(location.search).get("room") ?? "chat:lobby";
const lines = document.getElementById("lines");
const state = document.getElementById("state");
const text = document.getElementById("text");
const typing = document.getElementById("typing");

async function takeToken() {
  const response = await fetch("token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ channel: room }),
  });
  const { token, error } = await response.json();
  if (token === undefined) throw new Error(error);
  return token;
}

function show({ text, at }) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(at * 1000).toLocaleTimeString([], { timeStyle: "short" });
  line.append(time, ` ${text}`);
  lines.append(line);
  typing.textContent = "";
  line.scrollIntoView({ block: "end" });
}

const token = await takeToken();
const socket = new Phoenix.Socket(new URL("websocket", location.href).pathname, {
  params: { userToken: token },
});
socket.onError(() => (state.textContent = "disconnected, reconnecting"));

let position = null;
const channel = socket.channel(room, () => ({
  recover: position,
  replay: position === null ? 50 : undefined,
}));
channel.onMessage = (_event, payload, ref) => {
  if (channel.state === "joined" && ref?.includes("-")) position = ref;
  return payload;
};
channel.on("line", show);
// Lines are lost: begin again with the newest page of them.
channel.on("gap", () => location.reload());

// How many pages are here, and whether somebody writes in another one.
const presence = new Phoenix.Presence(channel);
presence.onSync(() => {
  const pages = presence.list((_user, { metas }) => metas.length).reduce((sum, count) => sum + count, 0);
  document.getElementById("online").textContent = `${pages} online`;
});
let hide;
channel.on("typing", () => {
  typing.textContent = "Somebody is typing…";
  clearTimeout(hide);
  hide = setTimeout(() => (typing.textContent = ""), 3000);
});
/** The next "typing" is sent after this time. */
let quietUntil = 0;
text.addEventListener("input", () => {
  if (Date.now() < quietUntil || channel.state !== "joined") return;
  quietUntil = Date.now() + 1500;
  channel.push("typing", {});
});

channel
  .join()
  .receive("ok", (answer) => {
    if (answer.recovered === false) return location.reload();
    position = answer.position ?? position;
    state.textContent = answer.recovered === true ? "connected again, nothing missed" : "connected";
  })
  .receive("error", ({ reason }) => (state.textContent = `refused: ${reason}`));
socket.connect();

document.getElementById("say").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const line = text.value;
  quietUntil = 0;
  channel
    .push("say", { text: line })
    .receive("ok", () => {
      if (text.value === line) text.value = "";
      state.textContent = "connected";
    })
    .receive("error", ({ reason }) => (state.textContent = `not sent: ${reason}`));
});
