import { element, say, sentenceOf } from "./shared/page.ts";

/** Redeems the code of the sign-in link, and leads to the administration. */

const form = element("sign-in", HTMLFormElement);
const refusal = element("refusal", HTMLParagraphElement);
const code = new URLSearchParams(location.search).get("code") ?? "";

// The code is not for the history, nor for whoever looks at the screen.
history.replaceState(null, "", location.pathname);

async function redeem(): Promise<void> {
  say(refusal, "", "waiting");
  const response = await fetch("sign_in", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
  }).catch(() => null);
  if (response?.ok) location.replace("../admin.html");
  else say(refusal, response === null ? "No answer from the server." : await sentenceOf(response), "bad");
}

form.addEventListener("submit", (submit) => {
  submit.preventDefault();
  void redeem();
});

// The server says so where no other page led here: one that does must not make this one try codes.
if (document.body.hasAttribute("data-at-once")) void redeem();
