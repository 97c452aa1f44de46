import { button, container, textElement } from "./page.ts";

/**
 * Asks for confirmation. Resolves with whether the action was confirmed.
 * @param details one paragraph each; one that is still asked for follows
 */
export function confirmAction(
  question: string,
  details: readonly (string | Promise<string>)[],
  action: string,
): Promise<boolean> {
  const dialog = document.createElement("dialog");
  const title = textElement("h2", question, "question");
  title.id = "question";
  dialog.setAttribute("aria-labelledby", title.id);
  const cancel = button("Cancel", () => dialog.close());
  const confirm = button(action, () => dialog.close("yes"), "danger");
  dialog.append(title, ...details.map(paragraph), container("p", "actions", cancel, confirm));
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

function paragraph(text: string | Promise<string>): HTMLElement {
  if (typeof text === "string") return textElement("p", text);
  const made = textElement("p", "…");
  void text.then((answer) => {
    made.textContent = answer;
  });
  return made;
}
