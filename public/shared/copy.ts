import { button } from "./page.ts";

/** How long the result of copying is shown, in ms. */
const RESULT_TIME = 1500;

/** A button that copies the result of `text` to the clipboard and shows whether it worked. */
export function copyButton(text: () => string, label = "Copy"): HTMLButtonElement {
  const made = button(label, async () => {
    made.textContent = (await copy(text())) ? "Copied" : "Copy failed";
    setTimeout(() => {
      made.textContent = label;
    }, RESULT_TIME);
  });
  return made;
}

/** Falls back to `execCommand`: browsers offer the clipboard API to secure pages only. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
