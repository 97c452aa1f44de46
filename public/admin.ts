import { tell } from "./admin/actions.ts";
import { call, onSignedOut } from "./admin/api.ts";
import { ChannelPage } from "./admin/channel.ts";
import { Channels } from "./admin/channels.ts";
import { Connections } from "./admin/connections.ts";
import { Overview } from "./admin/overview.ts";
import { Tools } from "./admin/tools.ts";
import { element, field, say, sentenceOf } from "./shared/page.ts";

/** Between two looks at the server, in ms: as often as it takes snapshots. */
const PAUSE = 2000;

const PAGES = ["overview", "channels", "channel", "connections", "tools"] as const;
type PageName = (typeof PAGES)[number];

const state = element("state", HTMLParagraphElement);
const door = element("door", HTMLElement);
const inside = element("inside", HTMLElement);
const signOut = element("sign-out", HTMLButtonElement);
const secret = element("secret", HTMLInputElement);
const refusal = element("refusal", HTMLParagraphElement);

const overview = new Overview();
const channels = new Channels();
const channel = new ChannelPage();
const connections = new Connections();
const tools = new Tools();

let signedIn = false;
let page: PageName = "overview";
let timer: ReturnType<typeof setTimeout> | undefined;

/** `#/channels/room%3A1` is the page of a channel; what is no page is the first one. */
function route(): { readonly page: PageName; readonly name: string } {
  const [, first = "", second] = location.hash.split("/");
  if (first === "channels" && second !== undefined && second !== "") {
    try {
      return { page: "channel", name: decodeURIComponent(second) };
    } catch {
      return { page: "channels", name: "" };
    }
  }
  const known = PAGES.find((each) => each === first && each !== "channel");
  return { page: known ?? "overview", name: "" };
}

function turn(): void {
  const { page: wanted, name } = route();
  if (!signedIn) return;
  const moved = page !== wanted;
  page = wanted;
  for (const each of PAGES) element(`page-${each}`, HTMLElement).hidden = each !== page;
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    const current = link.getAttribute("data-page") === (page === "channel" ? "channels" : page);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page === "channel") channel.open(name);
  else channel.close();
  if (moved) tell("", "good");
  refresh();
}

function refresh(): void {
  if (page === "channels") channels.refresh();
  else if (page === "channel") channel.refresh();
  else if (page === "connections") connections.refresh();
  else if (page === "tools") void tools.refresh();
}

/** Looks at the server, and again in a while; a page that nobody sees asks for nothing. */
async function look(): Promise<void> {
  clearTimeout(timer);
  if (!signedIn || document.hidden) return;
  const answer = await call("GET api/stats");
  if (answer.ok) {
    const { bus } = answer.value;
    overview.show(answer.value);
    connections.protocols(Object.keys(answer.value.connections));
    say(state, bus.live ? "Live" : "The bus is away", bus.live ? "good" : "bad");
    refresh();
  } else if (signedIn) say(state, answer.why, "bad");
  clearTimeout(timer);
  if (signedIn) timer = setTimeout(look, PAUSE);
}

async function enter(): Promise<void> {
  signedIn = true;
  door.hidden = true;
  inside.hidden = false;
  signOut.hidden = false;
  await overview.begin();
  if (!signedIn) return;
  turn();
  await look();
}

function leave(why: string): void {
  const was = signedIn;
  signedIn = false;
  clearTimeout(timer);
  channel.close();
  door.hidden = false;
  inside.hidden = true;
  signOut.hidden = true;
  say(state, was ? why : "Not signed in", "waiting");
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  secret.focus();
}

onSignedOut(() => leave("The session is over"));

element("sign-in", HTMLFormElement).addEventListener("submit", async (submit) => {
  submit.preventDefault();
  say(refusal, "", "waiting");
  try {
    const response = await fetch("admin/sign_in", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ secret: secret.value }),
    });
    if (!response.ok) {
      say(refusal, await sentenceOf(response), "bad");
      return;
    }
    secret.value = "";
    if (location.hash === "#/explorer") location.assign("api-explorer");
    else await enter();
  } catch {
    say(refusal, "No answer from the server.", "bad");
  }
});

signOut.addEventListener("click", async () => {
  const response = await fetch("admin/sign_out", { method: "POST" }).catch(() => null);
  if (response === null || !response.ok) {
    say(state, response === null ? "No answer from the server" : await sentenceOf(response), "bad");
    return;
  }
  leave("Signed out");
});

addEventListener("hashchange", turn);
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || !signedIn) return;
  await overview.begin();
  await look();
});

/** A visitor who was here before has a cookie; whether it is still good only the server knows. */
async function begin(): Promise<void> {
  const response = await fetch("admin/session").catch(() => null);
  if (response === null) {
    say(state, "No answer from the server, trying again", "bad");
    setTimeout(begin, PAUSE);
  } else if (field(await response.json().catch(() => null), "signed_in") === true) await enter();
  else leave("Not signed in");
}

void begin();
