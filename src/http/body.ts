import type { Refusal } from "./admission.ts";

/** What a request's body said, or why it was not read to its end. */
export type Body =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly refusal: Refusal | { readonly status: 413; readonly sentence: string } };

export type TextBody = { readonly ok: true; readonly text: string } | (Body & { readonly ok: false });

const NOT_JSON: Body & { readonly ok: false } = {
  ok: false,
  refusal: { status: 400, sentence: "The body is not JSON." },
};

/** Reads a body of JSON, whatever content type it claims; no more than `limit` bytes of it. Never rejects. */
export async function readJson(request: Request, limit: number): Promise<Body> {
  const read = await readText(request, limit);
  if (!read.ok) return read;
  try {
    return { ok: true, value: JSON.parse(read.text) };
  } catch {
    return NOT_JSON;
  }
}

/** The same, before anybody parses it. */
export async function readText(request: Request, limit: number): Promise<TextBody> {
  const tooLarge = {
    status: 413,
    sentence: `A body of more than ${limit} bytes is not taken (limits.max_body).`,
  } as const;
  if (Number(request.headers.get("content-length") ?? 0) > limit) return { ok: false, refusal: tooLarge };
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > limit) return { ok: false, refusal: tooLarge };
      chunks.push(chunk);
    }
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
    return { ok: true, text };
  } catch {
    return NOT_JSON;
  }
}
