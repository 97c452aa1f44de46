/** The element with an id, of the kind that the page's HTML gives it. */
export function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

/** An element that holds text only: whatever comes over the wire is never markup. */
export function line(tag: string, text: string, className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== "") made.className = className;
  return made;
}

/** An element around others. */
export function box(tag: string, className: string, ...inside: readonly (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.append(...inside);
  return made;
}

export function button(text: string, onClick: () => void, className = "plain"): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.className = className;
  made.addEventListener("click", onClick);
  return made;
}

/** How a state looks: `good`, `bad`, or on its way. */
export type Mood = "good" | "bad" | "waiting";

export function say(where: HTMLElement, text: string, mood: Mood): void {
  where.textContent = text;
  where.dataset.state = mood;
}

/** Sets a text only where it is another: whoever reads a live page aloud hears changes only. */
export function put(where: HTMLElement, text: string): void {
  if (where.textContent !== text) where.textContent = text;
}

/** Where the socket is for phoenix.js, which adds `/websocket` itself: beside this page, whatever prefix it has. */
export function socketAddress(): string {
  return new URL("websocket", location.href).pathname;
}

/** A field of an answer that may be anything. */
export function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** The sentence of an error that the server answered with. */
export async function sentenceOf(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  const sentence = field(body, "error");
  return typeof sentence === "string" ? sentence : `The server answered with ${response.status}.`;
}

/** Calls `draw` once before the next frame, however often it is asked for. */
export function oncePerFrame(draw: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
