import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CERTIFICATE, KEY } from "../../unit/config/certificate.ts";
import { freePort } from "../redis-process.ts";

/** A real nginx in front of us, as a Tower stands there: it ends TLS and sends `/websocket` our way, by its path. */
export interface Nginx {
  readonly port: number;
  /** What it wrote about requests. */
  stop(): Promise<void>;
}

const START_MS = 10_000;

function configuration(folder: string, port: number, upstream: number): string {
  return `
pid ${folder}/nginx.pid;
daemon off;
master_process off;
error_log stderr notice;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${folder}/certificate.pem;
    ssl_certificate_key ${folder}/key.pem;
    location /websocket {
      proxy_pass http://127.0.0.1:${upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
    }
    location / { return 200 "the controller"; }
  }
}
`;
}

/** Starts nginx before a server of ours at `upstream`; resolves when it takes connections. */
export async function startNginx(upstream: number): Promise<Nginx> {
  const program = Bun.which("nginx", { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin` });
  if (program === null) throw new Error("no nginx: apt-get install nginx-light, or https://nginx.org");
  const folder = mkdtempSync(join(tmpdir(), "channel-nginx-"));
  const port = freePort();
  writeFileSync(join(folder, "certificate.pem"), CERTIFICATE);
  writeFileSync(join(folder, "key.pem"), KEY, { mode: 0o600 });
  writeFileSync(join(folder, "nginx.conf"), configuration(folder, port, upstream));
  const child = Bun.spawn([program, "-p", folder, "-e", "stderr", "-c", join(folder, "nginx.conf")], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  };
  const printed = new Response(child.stderr).text();
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline && child.exitCode === null) {
    try {
      const answer = await fetch(`https://127.0.0.1:${port}/`, { tls: { rejectUnauthorized: false } });
      if ((await answer.text()) === "the controller") return { port, stop };
    } catch {
      // not yet
    }
    await Bun.sleep(20);
  }
  await stop();
  throw new Error(`nginx did not start: ${await printed}`);
}
