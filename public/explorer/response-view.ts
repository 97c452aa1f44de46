import { copyButton } from "../shared/copy.ts";
import { bytes } from "../shared/format.ts";
import { container, type StatusLevel, setStatus, setText, textElement } from "../shared/page.ts";
import { type Answer, indentJson } from "./send.ts";

export function heading(text: string, ...more: readonly Node[]): HTMLElement {
  return container("div", "bar", textElement("h3", text), ...more);
}

export function folded(title: string, inside: Node): HTMLElement {
  return container("details", "folded", textElement("summary", title), inside);
}

type Run = (
  onAnswer: (answer: Answer) => void,
  onText: (text: string, cut: boolean) => void,
) => Promise<void>;

/** Shows what a call is answered with: status, time, size, text, headers. */
export async function showResponse(
  target: HTMLElement,
  controller: AbortController,
  run: Run,
): Promise<void> {
  const { signal } = controller;
  const state = textElement("p", "Waiting", "state");
  state.setAttribute("role", "status");
  state.dataset.state = "waiting";
  const output = textElement("pre", "", "code");
  output.tabIndex = 0;
  output.hidden = true;
  target.replaceChildren(
    heading(
      "Response",
      copyButton(() => output.textContent ?? ""),
    ),
    state,
    output,
  );
  let line = "";
  let level: StatusLevel = "waiting";
  try {
    await run(
      ({ status, statusText, elapsed, headers }) => {
        if (signal.aborted) return;
        line = `${status} ${statusText} in ${elapsed < 10 ? elapsed.toFixed(1) : Math.round(elapsed)} ms`;
        level = status < 400 ? "good" : "bad";
        setStatus(state, line, level);
        const list = headers.map(([name, value]) => `${name}: ${value}`).join("\n");
        target.append(folded(`Headers (${headers.length})`, textElement("pre", list, "code")));
      },
      (text, cut) => {
        if (signal.aborted) return;
        output.hidden = text === "";
        setText(output, indentJson(text));
        const size = bytes(new Blob([text]).size);
        setStatus(state, `${line}, ${cut ? `${size} of it shown` : size}`, level);
      },
    );
  } catch {
    // A second call shows its own response here.
    if (!target.contains(state)) return;
    if (signal.aborted)
      setStatus(state, line === "" ? "Stopped before an answer" : `${line}, stopped`, "waiting");
    else if (line === "") setStatus(state, "No response from the server", "bad");
    else setStatus(state, `${line}, then the connection broke`, "bad");
  }
}
