import { box, button, line } from "./page.ts";

/** Asks once before something that can't be taken back. Resolves with whether it is to be done. */
export function ask(question: string, consequence: string, action: string): Promise<boolean> {
  const dialog = document.createElement("dialog");
  const title = line("h2", question, "question");
  title.id = "question";
  dialog.setAttribute("aria-labelledby", title.id);
  const cancel = button("Cancel", () => dialog.close());
  const go = button(action, () => dialog.close("yes"), "risky");
  dialog.append(title, line("p", consequence), box("p", "actions", cancel, go));
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
