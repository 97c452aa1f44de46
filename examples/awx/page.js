// Follows one job at a time, as AWX's pages do: each page sends the full list of its groups.

const GROUPS = ["jobs", "job_events"];
/** Minimum delay before reconnecting, in ms. */
const RECONNECT_DELAY = 1000;
/** Lines of output kept on the page. */
const MAX_LINES = 500;

const element = (id) => document.getElementById(id);
/** Known jobs by id, with their list entries. */
const jobs = new Map();
let socket = null;

/** The job of the current page (`#/jobs/41`), or null on the start page. */
function currentJob() {
  const id = /^#\/jobs\/(\d+)$/.exec(location.hash)?.[1];
  return id === undefined ? null : Number(id);
}

/** Sends the groups of the current page. The server removes the page from all other groups. */
function sendGroups() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const job = currentJob();
  const groups = { jobs: ["status_changed"] };
  if (job !== null) groups.job_events = [job];
  socket.send(JSON.stringify({ groups }));
}

async function connect() {
  try {
    const response = await fetch("token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channels: GROUPS }),
    });
    const { token, error } = await response.json();
    if (token === undefined) throw new Error(error);
    const address = new URL(`groups?token=${encodeURIComponent(token)}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    socket = new WebSocket(address);
    socket.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
    socket.addEventListener("close", () => reconnect("disconnected"));
  } catch (error) {
    reconnect(error.message);
  }
}

function reconnect(reason) {
  element("connection").textContent = `${reason}, reconnecting`;
  setTimeout(connect, RECONNECT_DELAY * (1 + Math.random()));
}

function receive(message) {
  if (message.accept) {
    element("connection").textContent = `connected as ${message.user}`;
    sendGroups();
  } else if (message.groups_current) {
    element("follows").textContent = message.groups_current.join(", ") || "nothing";
  } else if (message.error) {
    element("connection").textContent = message.error;
  } else if (message.group_name === "jobs") {
    showStatus(message.unified_job_id, message.status);
  } else if (message.group_name === "job_events" && message.job === currentJob()) {
    print(message.stdout);
  }
}

/** The list entry of a job; creates it for a new job. */
function entryOf(job) {
  const known = jobs.get(job);
  if (known !== undefined) return known;
  const link = document.createElement("a");
  link.href = `#/jobs/${job}`;
  const name = document.createElement("span");
  name.textContent = `Job ${job}`;
  const badge = document.createElement("span");
  link.append(name, badge);
  const item = document.createElement("li");
  item.append(link);
  const entry = { link, badge, item };
  jobs.set(job, entry);
  const sorted = [...jobs].sort(([a], [b]) => a - b).map(([, each]) => each.item);
  element("jobs").replaceChildren(...sorted);
  element("none").hidden = true;
  return entry;
}

function showStatus(job, status) {
  entryOf(job).badge.textContent = status;
  markCurrent();
  if (job === currentJob() && status === "pending") clear();
}

function markCurrent() {
  for (const [job, { link }] of jobs) {
    if (job === currentJob()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function clear() {
  element("output").replaceChildren();
}

function print(line) {
  const output = element("output");
  const atEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 8;
  output.append(`${line}\n`);
  while (output.childNodes.length > MAX_LINES) output.firstChild.remove();
  if (atEnd) output.scrollTop = output.scrollHeight;
}

function showPage() {
  const job = currentJob();
  element("title").textContent = job === null ? "Select a job" : `Job ${job}`;
  clear();
  markCurrent();
  sendGroups();
}

addEventListener("hashchange", showPage);
showPage();
connect();
