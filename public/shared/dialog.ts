import { button, container, textElement } from "./page.ts";

/** Asks for confirmation. Resolves with whether the action was confirmed. */
export function confirmAction(question: string, consequence: string, action: string): Promise<boolean> {
  const dialog = document.createElement("dialog");
  const title = textElement("h2", question, "question");
  title.id = "question";
  dialog.setAttribute("aria-labelledby", title.id);
  const cancel = button("Cancel", () => dialog.close());
  const confirm = button(action, () => dialog.close("yes"), "danger");
  dialog.append(title, textElement("p", consequence), container("p", "actions", cancel, confirm));
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
