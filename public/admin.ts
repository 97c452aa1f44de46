import { showNotice } from "./admin/actions.ts";
import { call, onSignedOut } from "./admin/api.ts";
import { Audit } from "./admin/audit.ts";
import { ChannelPage } from "./admin/channel.ts";
import { Channels } from "./admin/channels.ts";
import { Connections } from "./admin/connections.ts";
import { Freshness } from "./admin/freshness.ts";
import { Overview } from "./admin/overview.ts";
import { applyRole, fetchRole, mayDo, type Role } from "./admin/role.ts";
import { Servers } from "./admin/servers.ts";
import { System } from "./admin/system.ts";
import { Tools } from "./admin/tools.ts";
import { element, errorMessageOf, setStatus } from "./shared/page.ts";

/** Poll interval in ms; the interval of the server's snapshots. */
const POLL_INTERVAL = 2000;

/** How long an answer to a poll is waited for, in ms. A server that hangs is as good as gone. */
const POLL_TIMEOUT = 3000;

const PAGES = ["overview", "channels", "channel", "connections", "system", "audit", "tools"] as const;
type PageName = (typeof PAGES)[number];

/** What pages need, besides the right to read. */
const NEEDS: Readonly<Partial<Record<PageName, string>>> = { tools: "act", audit: "administrate" };

const state = element("state", HTMLParagraphElement);
const signInSection = element("sign-in-section", HTMLElement);
const content = element("content", HTMLElement);
const firstSteps = element("first-steps", HTMLElement);
const signOut = element("sign-out", HTMLButtonElement);
const secret = element("secret", HTMLInputElement);
const signInError = element("sign-in-error", HTMLParagraphElement);

const overview = new Overview();
const channels = new Channels();
const channel = new ChannelPage();
const connections = new Connections();
const tools = new Tools();
const servers = new Servers();
const system = new System();
const audit = new Audit();
const freshness = new Freshness(() => {
  overview.lost();
  servers.lost();
});

let signedIn = false;
let page: PageName = "overview";
let timer: ReturnType<typeof setTimeout> | undefined;

/** The page of the URL fragment: `#/channels/room%3A1` is a channel, an unknown one the overview. */
function currentRoute(): { readonly page: PageName; readonly name: string } {
  const [, first = "", second] = location.hash.split("/");
  if (first === "channels" && second !== undefined && second !== "") {
    try {
      return { page: "channel", name: decodeURIComponent(second) };
    } catch {
      return { page: "channels", name: "" };
    }
  }
  const known = PAGES.find((each) => each === first && each !== "channel");
  const needs = known === undefined ? undefined : NEEDS[known];
  const permitted = needs === undefined || mayDo(needs);
  return { page: (permitted ? known : undefined) ?? "overview", name: "" };
}

function renderRoute(): void {
  const { page: wanted, name } = currentRoute();
  if (!signedIn) return;
  const changed = page !== wanted;
  page = wanted;
  for (const each of PAGES) element(`page-${each}`, HTMLElement).hidden = each !== page;
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    const current = link.getAttribute("data-page") === (page === "channel" ? "channels" : page);
    if (current) {
      link.setAttribute("aria-current", "page");
      // The tabs of a phone scroll sideways.
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  if (page === "channel") channel.open(name);
  else channel.close();
  if (changed) showNotice("", "good");
  refresh();
}

function refresh(): void {
  if (page === "channels") channels.refresh();
  else if (page === "channel") channel.refresh();
  else if (page === "connections") connections.refresh();
  else if (page === "system") void system.refresh();
  else if (page === "audit") audit.refresh();
  else if (page === "tools") void tools.refresh();
}

/** Polls the server while signed in and visible. */
async function poll(): Promise<void> {
  clearTimeout(timer);
  if (!signedIn || document.hidden) return;
  const answer = await call("GET api/stats", { query: { server: "*" }, timeout: POLL_TIMEOUT });
  if (answer.ok) {
    const { bus } = answer.value;
    freshness.answered();
    overview.update(answer.value);
    firstSteps.hidden = Object.values(answer.value.connections).some((count) => count > 0);
    connections.protocols(Object.keys(answer.value.connections));
    setStatus(state, bus.live ? "Bus up" : "Bus down", bus.live ? "good" : "bad");
    refresh();
    void pollServers(bus.live);
  } else if (signedIn) freshness.lost(answer.error);
  clearTimeout(timer);
  if (signedIn) timer = setTimeout(poll, POLL_INTERVAL);
}

async function pollServers(busLive: boolean): Promise<void> {
  const answer = await call("GET api/servers", { timeout: POLL_TIMEOUT });
  if (!answer.ok) return;
  servers.update(answer.value.servers, busLive);
  const names = answer.value.servers
    .filter(({ state }) => state !== "dead" && state !== "stopped")
    .map(({ name }) => name);
  connections.servers(names);
  channels.servers(names);
  audit.servers(names);
}

async function showSignedIn(role: Role): Promise<void> {
  signedIn = true;
  applyRole(role);
  signInSection.hidden = true;
  content.hidden = false;
  signOut.hidden = false;
  await overview.loadHistory();
  if (!signedIn) return;
  renderRoute();
  await poll();
}

function showSignedOut(reason: string): void {
  const wasSignedIn = signedIn;
  signedIn = false;
  clearTimeout(timer);
  channel.close();
  signInSection.hidden = false;
  content.hidden = true;
  signOut.hidden = true;
  element("role", HTMLElement).textContent = "";
  setStatus(state, wasSignedIn ? reason : "Not signed in", "waiting");
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  secret.focus();
}

onSignedOut(() => showSignedOut("Session expired"));

element("sign-in", HTMLFormElement).addEventListener("submit", async (submit) => {
  submit.preventDefault();
  setStatus(signInError, "", "waiting");
  try {
    const response = await fetch("admin/sign_in", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ secret: secret.value }),
    });
    if (!response.ok) {
      setStatus(signInError, await errorMessageOf(response), "bad");
      return;
    }
    secret.value = "";
    if (location.hash === "#/explorer") location.assign("api-explorer");
    else await checkSession();
  } catch {
    setStatus(signInError, "No response from the server.", "bad");
  }
});

signOut.addEventListener("click", async () => {
  const response = await fetch("admin/sign_out", { method: "POST" }).catch(() => null);
  if (response === null || !response.ok) {
    setStatus(
      state,
      response === null ? "No response from the server" : await errorMessageOf(response),
      "bad",
    );
    return;
  }
  showSignedOut("Signed out");
});

addEventListener("hashchange", renderRoute);
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || !signedIn) return;
  freshness.resumed();
  await overview.loadHistory();
  await poll();
});

/** Asks the server whether the session cookie is still valid. */
async function checkSession(): Promise<void> {
  const role = await fetchRole();
  if (role === undefined) {
    setStatus(state, "No response from the server, retrying", "bad");
    setTimeout(checkSession, POLL_INTERVAL);
  } else if (role === null) showSignedOut("Not signed in");
  else await showSignedIn(role);
}

void checkSession();
