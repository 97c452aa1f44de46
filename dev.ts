/** `npm run dev`: runs the server from source and restarts it after each change of a source or page. */
import { watch } from "node:fs";

const command = [process.execPath, "src/main.ts", "serve", ...process.argv.slice(2)];
const start = () => Bun.spawn(command, { cwd: import.meta.dir, stdio: ["inherit", "inherit", "inherit"] });

let server = start();
let pending: ReturnType<typeof setTimeout> | undefined;
let restarted = Promise.resolve();

async function restart(): Promise<void> {
  // The second signal skips draining clients.
  server.kill("SIGTERM");
  server.kill("SIGINT");
  await server.exited;
  server = start();
}

for (const folder of ["src", "public", "docs"]) {
  watch(`${import.meta.dir}/${folder}`, { recursive: true }, () => {
    // Editors write a file several times per change.
    clearTimeout(pending);
    pending = setTimeout(() => {
      restarted = restarted.then(restart);
    }, 100);
  });
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    server.kill(signal);
    process.exit(await server.exited);
  });
}
