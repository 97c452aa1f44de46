import { copyButton } from "../shared/copy.ts";
import { button, container, setStatus, setText, textElement } from "../shared/page.ts";
import { createCall, curlOf } from "./call.ts";
import type { Operation, Parameter } from "./description.ts";
import { folded, heading, showResponse } from "./response-view.ts";
import { type Credentials, send } from "./send.ts";

const ACCESS = {
  anyone: "Anyone may call it.",
  bearer: null,
  signature: "Signed with Channelstream's secret: the server signs calls of this page, for an administrator.",
} as const;

/** One operation: a line that opens to a form. What is inside is made when it opens first. */
export function operationView(operation: Operation, credentials: () => Credentials): HTMLElement {
  const { id, method, path, summary } = operation;
  const view = document.createElement("details");
  view.className = "operation";
  view.id = id;
  view.append(
    container(
      "summary",
      "",
      methodBadge(method),
      textElement("code", path, "path"),
      textElement("span", summary, "quiet"),
    ),
  );
  view.addEventListener("toggle", () => {
    if (!view.open) return;
    history.replaceState(null, "", `#${id}`);
    if (view.childElementCount === 1) view.append(details(operation, credentials));
  });
  return view;
}

export function methodBadge(method: string): HTMLElement {
  return textElement("span", method, `method ${method.toLowerCase()}`);
}

/** Text with `code` and paragraphs. */
export function described(text: string): HTMLElement {
  const made = container("div", "description");
  for (const paragraph of text.split("\n\n")) made.append(container("p", "", ...inline(paragraph)));
  return made;
}

function inline(text: string): Node[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? textElement("code", part) : new Text(part)));
}

function details(operation: Operation, credentials: () => Credentials): HTMLElement {
  const { access, parameters, id } = operation;
  const form = document.createElement("form");
  const inputs = new Map<string, HTMLInputElement | HTMLSelectElement>();
  form.append(described(operation.description));
  const note = ACCESS[access];
  if (note !== null) form.append(textElement("p", note, "quiet"));
  for (const parameter of parameters) {
    const input = parameterInput(parameter);
    inputs.set(parameter.name, input);
    form.append(parameterField(`${id}-${parameter.name}`, parameter, input));
  }
  const body = document.createElement("textarea");
  const problem = textElement("p", "", "reply");
  if (operation.body !== null) form.append(...bodyEditor(operation, body, problem));

  const sendButton = document.createElement("button");
  sendButton.textContent = "Send";
  const stop = button("Stop", () => controller?.abort());
  stop.hidden = true;
  form.append(container("p", "row", sendButton, stop));

  const base = new URL(".", location.href);
  const call = () =>
    createCall(operation, base, new Map([...inputs].map(([name, input]) => [name, input.value])), body.value);
  const command = textElement("pre", "", "code");
  command.tabIndex = 0;
  const showCommand = (): void => {
    setText(command, curlOf(call(), operation));
    setStatus(problem, operation.body === null ? "" : problemOf(body.value), "bad");
  };
  form.addEventListener("input", showCommand);
  showCommand();

  const result = container("div", "result");
  result.hidden = true;
  let controller: AbortController | null = null;
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    controller?.abort();
    const own = new AbortController();
    controller = own;
    stop.hidden = !operation.streams;
    result.hidden = false;
    void showResponse(result, own, (onAnswer, onText) =>
      send(call(), operation, credentials(), own.signal, onAnswer, onText),
    ).finally(() => {
      if (controller === own) stop.hidden = true;
    });
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  const right = container(
    "div",
    "outcome",
    heading(
      "curl",
      copyButton(() => curlOf(call(), operation)),
    ),
    command,
  );
  if (access !== "anyone") right.append(container("p", "quiet", ...inline(SECRETS[access])));
  right.append(result, answerExample(operation), errorTable(operation));
  return container("div", "inside", form, right);
}

const SECRETS = {
  bearer: "`KEY` is the admin secret or an API key.",
  signature: "`SIGNATURE` is made by Channelstream's package, or by `POST /api/channelstream/signature`.",
} as const;

function parameterInput({
  choices,
  required,
  example,
  standard,
}: Parameter): HTMLInputElement | HTMLSelectElement {
  if (choices.length > 0) {
    const select = document.createElement("select");
    if (!required) select.append(new Option(standard === "" ? "" : `(${standard})`, ""));
    for (const choice of choices) select.append(new Option(choice, choice));
    return select;
  }
  const input = document.createElement("input");
  input.autocomplete = "off";
  input.spellcheck = false;
  input.required = required;
  input.placeholder = standard;
  if (required) input.value = example;
  return input;
}

function parameterField(id: string, parameter: Parameter, input: HTMLElement): HTMLElement {
  const { name, type, many, required, description } = parameter;
  const label = document.createElement("label");
  label.htmlFor = id;
  input.id = id;
  label.append(
    textElement("code", name),
    ` ${type}${many ? ", separated by spaces" : ""}${required ? ", required" : ""}`,
  );
  const made = container("div", "parameter", label, input);
  if (description !== "") made.append(container("p", "quiet", ...inline(description)));
  return made;
}

function bodyEditor(operation: Operation, body: HTMLTextAreaElement, problem: HTMLElement): Node[] {
  const text = operation.body ?? "";
  body.id = `${operation.id}-body`;
  body.value = text;
  body.rows = Math.min(Math.max(text.split("\n").length, 4), 16);
  body.spellcheck = false;
  const label = document.createElement("label");
  label.htmlFor = body.id;
  label.textContent = "Body, JSON";
  const reset = button("Example", () => {
    body.value = text;
    body.dispatchEvent(new Event("input", { bubbles: true }));
  });
  reset.title = "Put the example back";
  const made: Node[] = [container("div", "bar", label, reset), body, problem];
  if (operation.fields.length > 0) {
    const rows = operation.fields.map(({ name, type, required, description }) =>
      container(
        "tr",
        "",
        container("td", "", textElement("code", name)),
        container("td", "quiet", `${type}${required ? ", required" : ""}`),
        container("td", "", ...inline(description)),
      ),
    );
    made.push(folded("Fields of the body", table(["field", "type", "meaning"], rows)));
  }
  return made;
}

function answerExample({ answer, streams }: Operation): Node {
  const block = textElement("pre", answer, "code");
  block.tabIndex = 0;
  return folded(streams ? "Example of a message" : "Example of an answer", block);
}

function errorTable({ errors }: Operation): Node {
  if (errors.length === 0) return new Text("");
  const rows = errors.map(({ status, code, sentence }) =>
    container(
      "tr",
      "",
      textElement("td", status),
      container("td", "", textElement("code", code)),
      container("td", "", ...inline(sentence)),
    ),
  );
  return folded(`Errors (${errors.length})`, table(["status", "code", "meaning"], rows));
}

function table(columns: readonly string[], rows: readonly HTMLElement[]): HTMLElement {
  const head = container("tr", "", ...columns.map((column) => textElement("th", column)));
  const made = container("table", "", container("thead", "", head), container("tbody", "", ...rows));
  const scroll = container("div", "scroll", made);
  scroll.tabIndex = 0;
  return scroll;
}

/** Why a text is not JSON; empty if it is. */
function problemOf(text: string): string {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return `Not JSON: ${error instanceof Error ? error.message : "unknown"}`;
  }
}
