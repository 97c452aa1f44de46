import docsStyle from "../../../public/docs.css" with { type: "text" };
import { type Asset, CSS, createAsset, SCRIPT } from "../assets.ts";
import { bundle } from "../bundle.ts" with { type: "macro" };
import { packDocs } from "./pack-docs.ts" with { type: "macro" };
import type { PackedFile } from "./pack-docs.ts";

/*
 * The documentation as pages. A module of its own, loaded at the first request: most servers never serve it.
 */

const packed = packDocs();
const script = bundle("public/docs.ts");

/** Files by address below `/docs/`. */
function unpack(): ReadonlyMap<string, Asset> {
  const files: Record<string, PackedFile> = JSON.parse(
    Bun.zstdDecompressSync(Buffer.from(packed, "base64")).toString(),
  );
  const assets = new Map([
    ["docs.js", createAsset(script, SCRIPT)],
    ["docs.css", createAsset(docsStyle, CSS)],
  ]);
  for (const [address, [type, content, encoding]] of Object.entries(files))
    assets.set(address, createAsset(encoding === "utf8" ? content : Buffer.from(content, "base64"), type));
  return assets;
}

/** By address below `/docs/`. */
export const docs = unpack();
