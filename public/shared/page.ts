/** The element with an id. Throws if it is missing or of another type. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id} of type ${type.name}`);
  return found;
}

/** A new element with text. Received data is never parsed as markup. */
export function textElement(tag: string, text: string, className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== "") made.className = className;
  return made;
}

/** A new element with children. */
export function container(
  tag: string,
  className: string,
  ...children: readonly (Node | string)[]
): HTMLElement {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

export function pageLink(text: string, address: string): HTMLAnchorElement {
  const made = document.createElement("a");
  made.textContent = text;
  made.href = address;
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

/** Makes an element that scrolls sideways on narrow screens reachable by keyboard. */
export function makeScrollable(target: HTMLElement, label: string): void {
  target.tabIndex = 0;
  target.setAttribute("role", "region");
  target.setAttribute("aria-label", label);
}

/** Severity of a status text; the style sheet sets its color. */
export type StatusLevel = "good" | "bad" | "waiting" | "unknown";

export function setStatus(target: HTMLElement, text: string, level: StatusLevel): void {
  target.textContent = text;
  target.dataset.state = level;
}

/** Sets a text only if it differs: screen readers announce every assignment in a live region. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Socket path for phoenix.js, relative to this page. phoenix.js appends `/websocket`. */
export function socketAddress(): string {
  return new URL("websocket", location.href).pathname;
}

/** A field of an unknown value; `undefined` if it is not an object. */
export function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** The error sentence of a response. */
export async function errorMessageOf(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  const message = field(body, "error");
  return typeof message === "string" ? message : `The server responded with status ${response.status}.`;
}

/** A function that schedules one call of `render` for the next frame. */
export function oncePerFrame(render: () => void): () => void {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      render();
    });
  };
}
