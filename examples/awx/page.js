// Follows one job at a time, as AWX' pages do: each page names what it wants to hear, and the next page names it anew.

const GROUPS = ["jobs", "job_events"];
/** Before the next try to connect, in ms. */
const PAUSE = 1000;
/** Lines of output that are kept on the page. */
const MAX_LINES = 500;

const element = (id) => document.getElementById(id);
/** The jobs that were heard of, by id, with their places in the list. */
const jobs = new Map();
let socket = null;

/** The job of the present page (`#/jobs/41`), or null on the first page. */
function currentJob() {
  const id = /^#\/jobs\/(\d+)$/.exec(location.hash)?.[1];
  return id === undefined ? null : Number(id);
}

/** Names everything that the present page wants to hear: what was followed before and is not named is left. */
function follow() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const job = currentJob();
  const groups = { jobs: ["status_changed"] };
  if (job !== null) groups.job_events = [job];
  socket.send(JSON.stringify({ groups }));
}

async function connect() {
  try {
    const answer = await fetch("token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channels: GROUPS }),
    });
    const { token, error } = await answer.json();
    if (token === undefined) throw new Error(error);
    const address = new URL(`groups?token=${encodeURIComponent(token)}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    socket = new WebSocket(address);
    socket.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
    socket.addEventListener("close", () => again("disconnected"));
  } catch (error) {
    again(error.message);
  }
}

function again(why) {
  element("connection").textContent = `${why}, trying again`;
  setTimeout(connect, PAUSE * (1 + Math.random()));
}

function receive(message) {
  if (message.accept) {
    element("connection").textContent = `connected as ${message.user}`;
    follow();
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

/** The entry of a job in the list, made when the job is first heard of. */
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
  const inOrder = [...jobs].sort(([a], [b]) => a - b).map(([, each]) => each.item);
  element("jobs").replaceChildren(...inOrder);
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
  element("title").textContent = job === null ? "Choose a job" : `Job ${job}`;
  clear();
  markCurrent();
  follow();
}

addEventListener("hashchange", showPage);
showPage();
connect();
