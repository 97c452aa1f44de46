import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { findPython } from "../integration/python.ts";
import { freePort } from "../integration/redis-process.ts";
import { socketIo } from "./dialects/socket-io.ts";
import { tangram } from "./dialects/tangram.ts";
import { CACHE, type Peer } from "./peer.ts";
import { centrifugo, centrifugoWithPresence } from "./peers/centrifugo.ts";
import { nchan } from "./peers/nchan.ts";
import { phoenix, phoenixWithPresence } from "./peers/phoenix.ts";
import { launch, SECRET } from "./servers.ts";

/** `tangram-core` of PyPI: its service in Rust, in a Python that does nothing else. */
const tangramCore: Peer = {
  name: "tangram",
  dialect: tangram,
  // It answers about half of 10,000 joins within five minutes.
  most: { presence: 1, "channels-10000": 0, "members-10000": 0 },
  lacks() {
    try {
      findPython("tangram_core");
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  },
  start: (options) =>
    launch(
      [
        ...[findPython("tangram_core"), join(import.meta.dir, "peers/tangram.py")],
        ...[String(freePort()), options.redisUrl, SECRET],
      ],
      options,
    ),
};

/** Socket.IO with its Redis adapter, on Node. */
const socketIoOnNode: Peer = {
  name: "socket.io",
  dialect: socketIo,
  lacks: () => (Bun.which("node") === null ? "there is no node on the path" : null),
  async start(options) {
    return launch(["node", await compiled(), options.redisUrl, SECRET], options);
  },
};

export const peers: readonly Peer[] = [
  tangramCore,
  socketIoOnNode,
  phoenix,
  phoenixWithPresence,
  centrifugo,
  centrifugoWithPresence,
  nchan,
];

let script: Promise<string> | null = null;

/** The server as JavaScript, where Node finds the packages. */
function compiled(): Promise<string> {
  script ??= (async () => {
    mkdirSync(CACHE, { recursive: true });
    await Bun.build({
      entrypoints: [join(import.meta.dir, "peers/socket-io.ts")],
      outdir: CACHE,
      naming: "[name].mjs",
      target: "node",
      packages: "external",
    });
    return join(CACHE, "socket-io.mjs");
  })();
  return script;
}
