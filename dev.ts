/** `bun run dev`: runs the server from source, and again after each change of a source or a page. */
import { watch } from "node:fs";

const command = [process.execPath, "src/main.ts", "serve", ...process.argv.slice(2)];
const start = () => Bun.spawn(command, { cwd: import.meta.dir, stdio: ["inherit", "inherit", "inherit"] });

let server = start();
let pending: ReturnType<typeof setTimeout> | undefined;
let restarted = Promise.resolve();

async function restart(): Promise<void> {
  // The second signal spares the wait for clients to take their leave.
  server.kill("SIGTERM");
  server.kill("SIGINT");
  await server.exited;
  server = start();
}

for (const folder of ["src", "public"]) {
  watch(`${import.meta.dir}/${folder}`, { recursive: true }, () => {
    // An editor touches a file several times for one change.
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
