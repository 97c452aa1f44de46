import { button } from "./page.ts";

/** How long a button says that it has copied, in ms. */
const SAID = 1500;

/** A button that copies a text, made when it is pressed, and says so. */
export function copyButton(text: () => string, label = "Copy"): HTMLButtonElement {
  const made = button(label, async () => {
    const said = (await copy(text())) ? "Copied" : "Not copied";
    made.textContent = said;
    setTimeout(() => {
      made.textContent = label;
    }, SAID);
  });
  return made;
}

/** The clipboard is for secure pages only; a hub in a local network is often none. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
