import { element, errorMessageOf, setStatus } from "./shared/page.ts";

/** Sends the code of the sign-in link to the server, then opens the administration. */

const form = element("sign-in", HTMLFormElement);
const signInError = element("sign-in-error", HTMLParagraphElement);
const code = new URLSearchParams(location.search).get("code") ?? "";

// Keep the code out of the browser history and the address bar.
history.replaceState(null, "", location.pathname);

async function sendCode(): Promise<void> {
  setStatus(signInError, "", "waiting");
  const response = await fetch("sign_in", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
  }).catch(() => null);
  if (response?.ok) location.replace("../admin.html");
  else
    setStatus(
      signInError,
      response === null ? "No response from the server." : await errorMessageOf(response),
      "bad",
    );
}

form.addEventListener("submit", (submit) => {
  submit.preventDefault();
  void sendCode();
});

// Set by the server if no other site linked here: another site must not trigger sign-in attempts.
if (document.body.hasAttribute("data-at-once")) void sendCode();
