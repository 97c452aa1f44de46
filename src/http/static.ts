import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";

/** A file, or the path (below `root`) to redirect to for a folder's index.html. */
export type Found = { readonly file: string; readonly tag: string } | { readonly folder: string };

/**
 * Finds the file of a URL path in a folder. `null` if there is none, or if the path leaves the folder (`..` in any encoding,
 * symbolic links, NUL) or names a special file. Names that start with a dot are not served, except `.well-known` at the top
 * (RFC 8615).
 *
 * @param path encoded, with a leading slash
 */
export async function findStatic(root: string, path: string): Promise<Found | null> {
  const segments = decodeSegments(path);
  if (segments === null) return null;
  try {
    const top = await realpath(root);
    const wanted = join(top, ...segments);
    const found = await stat(wanted);
    if (found.isDirectory() && !path.endsWith("/"))
      return isWithin(top, await realpath(wanted)) ? { folder: `${path}/` } : null;
    if (found.isFile() && path.endsWith("/")) return null;
    const file = await realpath(found.isDirectory() ? join(wanted, "index.html") : wanted);
    const { size, mtimeMs, isFile } = await fileStat(file);
    if (!isFile || !isWithin(top, file)) return null;
    return { file, tag: `W/"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"` };
  } catch {
    return null;
  }
}

/** Responds with a file, or 304 if the ETag matches. */
export function serveFile(
  found: { readonly file: string; readonly tag: string },
  request: Request,
): Response {
  const headers = { etag: found.tag, "cache-control": "no-cache" };
  if (request.headers.get("if-none-match") === found.tag) return new Response(null, { status: 304, headers });
  const file = Bun.file(found.file);
  const type =
    file.type.startsWith("text/") && !file.type.includes("charset")
      ? `${file.type};charset=utf-8`
      : file.type;
  return new Response(file, { headers: { ...headers, "content-type": type } });
}

async function fileStat(file: string): Promise<{ size: number; mtimeMs: number; isFile: boolean }> {
  const found = await stat(file);
  return { size: found.size, mtimeMs: found.mtimeMs, isFile: found.isFile() };
}

function isWithin(top: string, file: string): boolean {
  return file === top || file.startsWith(top.endsWith(sep) ? top : top + sep);
}

function decodeSegments(path: string): string[] | null {
  const segments: string[] = [];
  for (const [index, part] of path.slice(1).split("/").entries()) {
    let segment: string;
    try {
      segment = decodeURIComponent(part);
    } catch {
      return null;
    }
    if (segment.startsWith(".") && !(segment === ".well-known" && index === 0)) return null;
    if (/[/\\\u0000]/.test(segment)) return null;
    segments.push(segment);
  }
  if (segments.at(-1) === "") segments.pop();
  return segments.includes("") ? null : segments;
}
