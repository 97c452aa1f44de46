import { posix } from "node:path";

/**
 * Addresses below `/docs/` of files in the repository: `docs/fleet.md` is `fleet`, `docs/README.md` is empty, `SECURITY.md` is
 * `repository/security`, `deploy/nginx.conf` is `files/deploy/nginx.conf`, and a picture of docs/ keeps its path.
 */
export function addressOf(path: string): string {
  const inDocs = path.startsWith("docs/") ? path.slice("docs/".length) : null;
  if (!path.endsWith(".md")) return inDocs ?? `files/${path}`;
  const page = (inDocs ?? `repository/${path.toLowerCase()}`).slice(0, -".md".length);
  // The page of a folder: examples/README.md is repository/examples.
  if (/^readme$/i.test(posix.basename(page)) && page !== "repository/readme")
    return posix.dirname(page).replace(/^\.$/, "");
  return page;
}

/** A link from one address below `/docs/` to another. */
export function relativeLink(from: string, to: string): string {
  const up = "../".repeat(from.split("/").length - 1);
  const link = up + to;
  return link === "" ? "./" : link;
}
