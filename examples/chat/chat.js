// A chat that misses nothing: the newest 50 lines at first, and after each reconnection the lines in between.

const room = new URLSearchParams(location.search).get("room") ?? "chat:lobby";
const lines = document.getElementById("lines");
const state = document.getElementById("state");
const text = document.getElementById("text");

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
  time.textContent = new Date(at * 1000).toLocaleTimeString();
  line.append(time, ` ${text}`);
  lines.append(line);
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
  channel
    .push("say", { text: line })
    .receive("ok", () => (text.value = text.value === line ? "" : text.value))
    .receive("error", ({ reason }) => (state.textContent = `not sent: ${reason}`));
});
