import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../integration/redis-process.ts";
import { nchan as dialect } from "../dialects/nchan.ts";
import type { Peer } from "../peer.ts";
import { launchOn } from "../servers.ts";

const MODULES = [
  "/usr/lib/nginx/modules/ngx_nchan_module.so",
  "/usr/lib64/nginx/modules/ngx_nchan_module.so",
] as const;
const module = MODULES.find((path) => existsSync(path));

/** Debian leaves /usr/sbin out of a user's path. */
const NGINX = Bun.which("nginx") ?? "/usr/sbin/nginx";

/**
 * Nchan in one process of nginx, messages in its own memory and not kept: the least that it can do. It keeps no presence and checks no
 * token; a push has nowhere to go.
 */
export const nchan: Peer = {
  name: "nchan",
  dialect,
  most: { joined: 0, presence: 0, pushes: 0, "channels-100000": 0 },
  lacks: () =>
    module === undefined || !existsSync(NGINX)
      ? "there is no nginx with Nchan: apt install libnginx-mod-nchan"
      : null,
  async start(options) {
    const port = freePort();
    const folder = mkdtempSync(join(tmpdir(), "channel-nchan-"));
    const file = join(folder, "nginx.conf");
    writeFileSync(file, configuration(port, folder));
    const remove = () => rmSync(folder, { recursive: true, force: true });
    try {
      const server = await launchOn(port, "/", [NGINX, "-e", "stderr", "-p", folder, "-c", file], options);
      return { ...server, stop: () => server.stop().finally(remove) };
    } catch (error) {
      remove();
      throw error;
    }
  },
};

const MOST_DESCRIPTORS = 19_900;

function configuration(port: number, folder: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${folder}/${what};`)
    .join(" ");
  return `
load_module ${module};
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr error;
events { worker_connections ${MOST_DESCRIPTORS}; }
http {
  access_log off;
  ${temporary}
  # A message is read in one piece, and a backend stays connected.
  client_max_body_size 8m;
  client_body_buffer_size 8m;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  keepalive_time 24h;
  # A client of the generator may wait long between connecting and joining.
  client_header_timeout 1h;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/pub/(.+)$ { nchan_publisher http; nchan_channel_id $1; nchan_store_messages off; }
    location ~ ^/sub/(.+)$ { nchan_subscriber websocket; nchan_channel_id $1; nchan_store_messages off; }
  }
}
`;
}
