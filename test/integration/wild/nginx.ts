import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";

/** A real nginx in front of several servers. */
export interface Nginx {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  stop(): Promise<void>;
}

/** WebSockets go to whichever server is there, polls of one address always to the same one while it is there. */
function configuration(port: number, servers: readonly number[]): string {
  const list = servers.map((each) => `server 127.0.0.1:${each} max_fails=0;`).join(" ");
  return `
daemon off;
pid nginx.pid;
error_log error.log;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream any { ${list} }
  upstream sticky { ip_hash; ${list} }
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 8m;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_connect_timeout 2s;
    location / { proxy_pass http://any; proxy_read_timeout 120s; }
    location ~ /longpoll$ { proxy_pass http://sticky; proxy_read_timeout 30s; proxy_buffering off; }
  }
}
`;
}

export async function startNginx(servers: readonly number[]): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), "channel-nginx-"));
  const port = freePort();
  writeFileSync(join(folder, "nginx.conf"), configuration(port, servers));
  const child = Bun.spawn(["nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log"], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually(
      () =>
        fetch(`${url}/health`).then(
          ({ ok }) => ok,
          () => false,
        ),
      "nginx",
    );
  } catch {
    await stop();
    throw new Error(`nginx did not start: ${await new Response(child.stderr).text()}`);
  }
  return { url, stop };
}
