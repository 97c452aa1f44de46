import { type Operation, readDescription } from "./explorer/description.ts";
import { described, methodBadge, operationView } from "./explorer/operation-view.ts";
import type { Credentials } from "./explorer/send.ts";
import { container, element, field, setStatus, setText, textElement } from "./shared/page.ts";

/** Lists the operations of /openapi.json and calls them. */

const state = element("state", HTMLParagraphElement);
const key = element("key", HTMLInputElement);
const filter = element("filter", HTMLInputElement);
const index = element("index", HTMLElement);
const groups = element("groups", HTMLDivElement);
const nothing = element("nothing", HTMLParagraphElement);

/** `administrator`, or the name of a key; `null`: not signed in. */
let signedInAs: string | null = null;

/** The key is kept in the field only. */
function credentials(): Credentials {
  return { key: key.value.trim() };
}

function showCredentials(): void {
  if (credentials().key !== "") setStatus(state, "Calls are sent with the key", "good");
  else if (signedInAs !== null) setStatus(state, `Signed in as ${signedInAs}`, "good");
  else setStatus(state, "Not signed in", "waiting");
  element("sign-in-hint", HTMLParagraphElement).hidden = signedInAs !== null || credentials().key !== "";
}

interface Listed {
  readonly operation: Operation;
  readonly elements: readonly HTMLElement[];
}

function showGroup(
  name: string,
  operations: readonly Operation[],
): { listed: Listed[]; parts: HTMLElement[] } {
  const links = document.createElement("ul");
  const section = container("section", "", textElement("h2", name));
  const listed = operations.map((operation) => {
    const link = document.createElement("a");
    link.href = `#${operation.id}`;
    link.append(methodBadge(operation.method), textElement("span", operation.summary));
    const item = container("li", "", link);
    const view = operationView(operation, credentials);
    links.append(item);
    section.append(view);
    return { operation, elements: [item, view] };
  });
  const part = container("div", "", textElement("h2", name), links);
  index.append(part);
  groups.append(section);
  return { listed, parts: [part, section] };
}

/** Opens the operation of the fragment. */
function openLinked(): void {
  const target = document.getElementById(location.hash.slice(1));
  if (!(target instanceof HTMLDetailsElement)) return;
  target.open = true;
  target.scrollIntoView();
}

function matches({ method, path, summary }: Operation, words: readonly string[]): boolean {
  const text = `${method} ${path} ${summary}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

async function start(): Promise<void> {
  const [session, description] = await Promise.all([
    fetch("admin/session").then((response) => response.json()),
    fetch("openapi.json").then((response) => response.json()),
  ]).catch(() => [null, null]);
  if (description === null) return setStatus(state, "No response from the server", "bad");
  if (field(session, "signed_in") === true) {
    const name = field(session, "name");
    signedInAs = typeof name === "string" ? name : "administrator";
  }
  showCredentials();
  element("about", HTMLDivElement).replaceChildren(
    described(String(field(field(description, "info"), "description"))),
  );
  const shown = [...readDescription(description)].map(([name, operations]) => showGroup(name, operations));
  const applyFilter = (): void => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { listed, parts } of shown) {
      const found = listed.filter(({ operation }) => matches(operation, words));
      for (const one of listed) for (const each of one.elements) each.hidden = !found.includes(one);
      for (const part of parts) part.hidden = found.length === 0;
      count += found.length;
    }
    setText(nothing, count === 0 ? "No call matches." : "");
  };
  filter.addEventListener("input", applyFilter);
  key.addEventListener("input", showCredentials);
  element("access", HTMLFormElement).addEventListener("submit", (submit) => submit.preventDefault());
  window.addEventListener("hashchange", openLinked);
  // A link to the operation that is open already changes no fragment.
  index.addEventListener("click", () => setTimeout(openLinked));
  openLinked();
}

void start();
