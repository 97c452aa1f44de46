import type { Operation } from "./description.ts";

/** A call as it is sent, and as curl sends it. */
export interface Call {
  readonly method: string;
  readonly url: URL;
  readonly body: string | null;
}

/**
 * The call of an operation with the values of its fields, by parameter name.
 * @param base where the server is, with a slash at the end
 */
export function createCall(
  operation: Operation,
  base: URL,
  values: ReadonlyMap<string, string>,
  body: string,
): Call {
  let { path } = operation;
  const query = new URLSearchParams();
  for (const { name, where, many } of operation.parameters) {
    const value = values.get(name) ?? "";
    if (where === "path") path = path.replace(`{${name}}`, () => encodeURIComponent(value));
    else if (value !== "")
      for (const each of many ? value.trim().split(/\s+/) : [value]) query.append(name, each);
  }
  const url = new URL(path.slice(1), base);
  url.search = query.toString();
  return { method: operation.method, url, body: operation.body === null ? null : body };
}

/** The command line of a call. The secret is a variable of the shell: `KEY`, or `SIGNATURE` for Channelstream. */
export function curlOf({ method, url, body }: Call, { access, streams }: Operation): string {
  const usual = body === null ? "GET" : "POST";
  const parts = [`curl${streams ? " -N" : ""}${method === usual ? "" : ` -X ${method}`} ${quoted(url.href)}`];
  if (access === "bearer") parts.push('-H "Authorization: Bearer $KEY"');
  if (access === "signature") parts.push('-H "x-channelstream-secret: $SIGNATURE"');
  // --data reads a file if the text begins with an @.
  if (body !== null)
    parts.push(
      "-H 'Content-Type: application/json'",
      `${body.startsWith("@") ? "--data-raw" : "-d"} ${quoted(body)}`,
    );
  return parts.join(" \\\n  ");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
