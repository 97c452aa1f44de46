import { errorMessageOf, field } from "../shared/page.ts";

/** `rejected`: the server rejected the request. Otherwise it did not respond, and the request can be repeated. */
export type Token =
  | { readonly ok: true; readonly token: string }
  | { readonly ok: false; readonly rejected: boolean; readonly error: string };

/** Requests a token from the public endpoint. */
export async function fetchToken(channel: string, id: string): Promise<Token> {
  try {
    const response = await fetch("token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channel, id }),
    });
    if (!response.ok) return { ok: false, rejected: true, error: await errorMessageOf(response) };
    const token = field(await response.json(), "token");
    return typeof token === "string"
      ? { ok: true, token }
      : { ok: false, rejected: true, error: "The response contains no token." };
  } catch {
    return { ok: false, rejected: false, error: "No response from the server." };
  }
}
