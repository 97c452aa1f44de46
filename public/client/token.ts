import { field, sentenceOf } from "../shared/page.ts";

/** `refused`: the server said no; else it said nothing, and may be asked again. */
export type Token =
  | { readonly ok: true; readonly token: string }
  | { readonly ok: false; readonly refused: boolean; readonly why: string };

/** Asks for a token as any client would. */
export async function fetchToken(channel: string, id: string): Promise<Token> {
  try {
    const response = await fetch("token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channel, id }),
    });
    if (!response.ok) return { ok: false, refused: true, why: await sentenceOf(response) };
    const token = field(await response.json(), "token");
    return typeof token === "string"
      ? { ok: true, token }
      : { ok: false, refused: true, why: "The answer held no token." };
  } catch {
    return { ok: false, refused: false, why: "No answer from the server." };
  }
}
