// The page of the applications in fastapi, django and express. It knows their routes, not their language.
const { Socket, Presence } = Phoenix;
const server = document.querySelector('meta[name="channel"]').content;
const byId = (id) => document.getElementById(id);

/** Calls a route of the application, with its session cookie. */
async function post(route, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(route, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${route}: ${response.status}`);
  return response.json();
}

const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

function fill(list, texts, tag = "li") {
  list.replaceChildren(...texts.map((text) => make(tag, text)));
}

/** Gives an element the initial and a color of a user, for the style sheet. */
function named(element, user) {
  const hue = [...user].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  element.dataset.initial = user[0];
  element.style.setProperty("--hue", hue);
}

function show({ user, text, to }) {
  const line = make("li", "");
  named(line, user);
  line.classList.toggle("private", to !== undefined);
  const sentence = to === undefined ? `${user}: ${text}` : `${user} to ${to}: ${text}`;
  line.append(make("p", sentence), make("time", new Date().toLocaleTimeString([], { timeStyle: "short" })));
  byId("lines").append(line);
  line.scrollIntoView({ block: "nearest" });
}

function enter({ user }) {
  byId("login").hidden = true;
  document.querySelector("main").hidden = false;
  const socket = new Socket(`${server.replace(/^http/, "ws")}/websocket`);
  const state = (text) => (byId("state").textContent = text);
  socket.onError(() => state("disconnected, reconnecting"));

  const room = socket.channel("room:lobby");
  room.on("line", show);
  const presence = new Presence(room);
  presence.onSync(() => {
    const users = presence.list((id) => id).sort();
    fill(byId("members"), users);
    for (const item of byId("members").children) named(item, item.textContent);
    const chosen = byId("to").value;
    fill(byId("to"), ["everybody", ...users.filter((each) => each !== user)], "option");
    if (users.includes(chosen)) byId("to").value = chosen;
  });
  // Only this user can join this channel: the application publishes private messages there.
  const own = socket.channel(`user:${user}`);
  own.on("line", show);
  const channels = [own, room];
  for (const channel of channels) {
    channel
      .join()
      .receive("ok", () => channels.every((each) => each.state === "joined") && state(`signed in as ${user}`))
      .receive("error", ({ reason }) => state(`${channel.topic}: ${reason}`));
  }
  socket.connect();

  byId("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = byId("text").value;
    const to = byId("to").value;
    try {
      await post("/say", to === "everybody" ? { text } : { text, to });
    } catch (error) {
      return state(error.message);
    }
    // Unless it was changed meanwhile.
    if (byId("text").value === text) byId("text").value = "";
  });
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    room
      .push("search", { words: byId("words").value })
      .receive("ok", ({ titles }) => fill(byId("found"), titles))
      .receive("error", ({ reason }) => fill(byId("found"), [reason]));
  });
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  enter(await post("/login", { user: byId("name").value }));
});

const session = await fetch("/session");
if (session.ok) enter(await session.json());
