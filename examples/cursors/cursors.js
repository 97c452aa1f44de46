// Sends where this page points to the other members of the board, and shows where they point. No backend.

const query = new URLSearchParams(location.search);
const name = query.get("name") ?? `guest ${Math.floor(Math.random() * 1000)}`;
const topic = `board:${query.get("board") ?? "demo"}`;

/** Ms between two positions: ten a second are allowed (limits.client_events_per_second). */
const INTERVAL = 100;

const board = document.getElementById("board");
const state = document.getElementById("state");
const members = document.getElementById("members");
const cursors = new Map();

async function takeToken() {
  const response = await fetch("token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ channel: topic, id: name }),
  });
  const { token, error } = await response.json();
  if (token === undefined) throw new Error(error);
  return token;
}

function cursorOf(user) {
  let cursor = cursors.get(user);
  if (cursor === undefined) {
    cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.dataset.user = user;
    cursor.textContent = user;
    const hue = [...user].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0) * 137) % 360, 7);
    cursor.style.setProperty("--hue", String(hue));
    board.append(cursor);
    cursors.set(user, cursor);
  }
  return cursor;
}

function removeCursor(user) {
  cursors.get(user)?.remove();
  cursors.delete(user);
}

/** `user` is that of the sender's token; the payload may be anything. */
function show({ user, payload }) {
  const { x, y } = payload ?? {};
  if (!Number.isFinite(x) || !Number.isFinite(y)) return removeCursor(user);
  const { style, classList } = cursorOf(user);
  // Where there is little room to the right of the point, the name is to its left.
  classList.toggle("left", x > 0.7);
  style.left = `${Math.min(Math.max(x, 0), 1) * 100}%`;
  style.top = `${Math.min(Math.max(y, 0), 1) * 100}%`;
}

const token = await takeToken();
const socket = new Phoenix.Socket(new URL("websocket", location.href).pathname);
socket.onError(() => (state.textContent = "disconnected, reconnecting"));

const channel = socket.channel(topic, { token });
channel.on("cursor", show);

const presence = new Phoenix.Presence(channel);
presence.onSync(() => (members.textContent = presence.list((user) => user).join(", ")));
presence.onLeave((user, { metas }) => metas.length === 0 && removeCursor(user));

channel
  .join()
  .receive("ok", ({ client_events = [] }) => {
    const shown = client_events.includes("cursor");
    state.textContent = shown ? `connected as ${name}` : "others do not see this page's cursor";
  })
  .receive("error", ({ reason }) => (state.textContent = `refused: ${reason}`));
socket.connect();

/** The newest position that was not sent yet. */
let waiting = null;
let paused = false;

function point(position) {
  waiting = position;
  if (!paused) flush();
}

function flush() {
  paused = waiting !== null;
  if (!paused) return;
  // phoenix.js keeps pushes until the channel is joined: an old position is of no use then.
  if (channel.state === "joined") {
    channel
      .push("cursor", waiting)
      .receive("error", ({ reason }) => (state.textContent = `not sent: ${reason}`));
  }
  waiting = null;
  setTimeout(flush, INTERVAL);
}

board.addEventListener("pointermove", ({ clientX, clientY }) => {
  const { left, top, width, height } = board.getBoundingClientRect();
  point({ x: (clientX - left) / width, y: (clientY - top) / height });
});
board.addEventListener("pointerleave", () => point({}));
