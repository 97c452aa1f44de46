import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A registry with the npm packages of a folder, and nothing else. */
export interface Registry {
  readonly url: string;
  stop(): Promise<void>;
}

export function startRegistry(folder: string): Registry {
  const packages = new Map<string, object>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    // npm may be slow to read on a busy machine.
    idleTimeout: 0,
    fetch: (request) => {
      const name = new URL(request.url).pathname.slice(1);
      if (name.endsWith(".tgz")) return new Response(Bun.file(join(folder, name)));
      const found = packages.get(name);
      return found === undefined ? new Response("{}", { status: 404 }) : Response.json(found);
    },
  });
  const url = server.url.href;
  for (const file of readdirSync(folder).filter((each) => each.endsWith(".tgz"))) {
    const unpack = Bun.spawnSync(["tar", "xzOf", join(folder, file), "package/package.json"]);
    const manifest: { name: string; version: string } = JSON.parse(unpack.stdout.toString());
    const integrity = `sha512-${createHash("sha512")
      .update(readFileSync(join(folder, file)))
      .digest("base64")}`;
    packages.set(manifest.name, {
      name: manifest.name,
      "dist-tags": { latest: manifest.version },
      versions: { [manifest.version]: { ...manifest, dist: { tarball: `${url}${file}`, integrity } } },
    });
  }
  return { url, stop: () => server.stop(true) };
}
