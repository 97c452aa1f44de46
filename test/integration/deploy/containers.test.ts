import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { channelBinary } from "../channel-process.ts";

const ROOT = join(import.meta.dir, "../../..");
const PATH = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

/** As Tangram's documentation has it: our image in place of its own, and nothing else. */
const DOCUMENTED =
  "podman run --rm --network host channel channel --redis-url redis://localhost:6379 --jwt-secret your-secret-key";

const CONTAINERS = `
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
`;

/** In name spaces of their own, so that the standard ports are free, and with an address that is not loopback. */
const SPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"];
const BEYOND = "192.0.2.1";
const SETUP = `ip link set lo up && ip addr add ${BEYOND}/32 dev lo && `;

let folder = join(tmpdir(), "channel-containers-none");
let env: Record<string, string> = {};

function run(script: string): { readonly code: number; readonly told: string; readonly errors: string } {
  const done = Bun.spawnSync([...SPACES, `${SETUP}{ ${script}\n}`], {
    cwd: join(folder, "context"),
    env,
    stdout: "pipe",
    stderr: "pipe",
  });
  return { code: done.exitCode, told: done.stdout.toString(), errors: done.stderr.toString() };
}

function prepare(): void {
  folder = mkdtempSync(join(tmpdir(), "channel-containers-"));
  mkdirSync(join(folder, "context/dist"), { recursive: true });
  writeFileSync(join(folder, "containers.conf"), CONTAINERS);
  const storage = `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/graph"\nrunroot = "${folder}/run"\n`;
  writeFileSync(join(folder, "storage.conf"), storage);
  env = {
    PATH,
    HOME: folder,
    TMPDIR: folder,
    CONTAINERS_CONF: join(folder, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
  };
}

/** Why no container runs here; `null` where one can. */
function lacking(): string | null {
  if (process.getuid?.() !== 0) return "it needs root";
  for (const program of ["podman", "runc", "unshare", "ip", "curl", "ldd", "redis-server"])
    if (Bun.which(program, { PATH }) === null) return `${program} is not there`;
  prepare();
  const info = run("podman info");
  return info.code === 0 ? null : `podman does not work: ${info.errors.trim().split("\n").at(-1)}`;
}

const why = lacking();
if (why !== null) {
  console.log(`containers: not tested, ${why}`);
  rmSync(folder, { recursive: true, force: true });
}

/** Stands in for the image of Debian, which cannot be had without a network: the files that ours needs of it. */
function importBase(name: string): void {
  const base = join(folder, "base");
  const programs = ["/bin/sh", "/bin/bash", "/usr/sbin/useradd"];
  const libraries = [...programs, channelBinary()].flatMap((program) => {
    const { stdout } = Bun.spawnSync(["ldd", program], { env: { PATH }, stdout: "pipe", stderr: "ignore" });
    return [...stdout.toString().matchAll(/\/\S+/g)].map(([path]) => path);
  });
  for (const file of ["/etc/passwd", "/etc/group", "/etc/login.defs", ...programs, ...libraries]) {
    mkdirSync(join(base, dirname(file)), { recursive: true });
    cpSync(realpathSync(file), join(base, file));
  }
  mkdirSync(join(base, "usr/local/bin"), { recursive: true });
  const imported = run(`tar --create --directory ${base} . | podman import - ${name}`);
  if (imported.code !== 0) throw new Error(imported.errors);
}

/** The line of docs/deployment.md that begins so. */
function documented(start: string): string {
  const lines = readFileSync(join(ROOT, "docs/deployment.md"), "utf8").split("\n");
  const line = lines.find((each) => each.startsWith(start));
  if (line === undefined) throw new Error(`docs/deployment.md has no line ${start}`);
  return line;
}

/** Runs a command beside a Redis until it serves, and prints what is seen from this machine and from beyond. */
function serve(command: string): Record<string, string> {
  const { code, told, errors } = run(`
    redis-server --save '' --appendonly no --port 6379 > /dev/null &
    export JWT_SECRET=a-long-secret-that-nobody-could-guess
    ${command} > ${folder}/log 2>&1 &
    podman=$!
    code() { curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 "http://$1:2025/ready"; }
    i=0
    until [ "$(code localhost)" = 200 ] || ! kill -0 $podman || [ $i -gt 300 ]; do sleep 0.1; i=$((i + 1)); done
    echo "here=$(code localhost)"
    echo "beyond=$(code ${BEYOND})"
    id=$(podman ps --quiet)
    podman healthcheck run $id > /dev/null && echo healthy=yes
    podman exec $id /bin/bash -c 'echo user=$UID'
    podman stop --time 10 $id > /dev/null
    wait $podman && echo ended=0
    true`);
  const seen = Object.fromEntries(
    told
      .trim()
      .split("\n")
      .map((line) => line.split("=", 2)),
  );
  return { ...seen, log: readFileSync(join(folder, "log"), "utf8"), ...(code === 0 ? {} : { errors }) };
}

describe.skipIf(why !== null)("the image", () => {
  beforeAll(() => {
    cpSync(channelBinary(), join(folder, "context/dist/channel"));
    cpSync(join(ROOT, "LICENSE"), join(folder, "context/LICENSE"));
    cpSync(join(ROOT, "deploy"), join(folder, "context/deploy"), { recursive: true });
    const from = /^FROM (\S+)$/m.exec(readFileSync(join(ROOT, "deploy/Containerfile"), "utf8"));
    importBase(from?.[1] ?? "");
    const built = run(documented("podman build "));
    if (built.code !== 0) throw new Error(`${built.told}\n${built.errors}`);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("has its health check when it is built as documented", () => {
    const { told } = run("podman image inspect channel --format '{{json .HealthCheck}}'");
    expect(Object(JSON.parse(told)).Test?.[0]).toBe("CMD");
  });

  const served = { here: "200", healthy: "yes", user: "2025", ended: "0" };

  test("serves with the documented command word by word, on this machine only", () => {
    const seen = serve(DOCUMENTED);
    expect(seen).toMatchObject({ ...served, beyond: "000" });
    expect(seen.log).toMatch(
      /WARN +--jwt-secret is a secret known from examples: listening on loopback only/,
    );
    expect(seen.log).not.toContain("your-secret-key");
  }, 60_000);

  test("serves every address with its own secret, as docs/deployment.md shows", () => {
    const seen = serve(documented("podman run "));
    expect(seen).toMatchObject({ ...served, beyond: "200" });
    expect(seen.log).not.toContain("known from examples");
  }, 60_000);

  test("refuses a secret known from examples on an explicit address beyond loopback", () => {
    const [, options = "", command = ""] = /^(.* --network host) (.*)$/.exec(DOCUMENTED) ?? [];
    for (const line of [`${DOCUMENTED} --host 0.0.0.0`, `${options} --env CHANNEL_HOST=0.0.0.0 ${command}`]) {
      const { code, errors } = run(line);
      expect([code, errors]).toEqual([2, expect.stringContaining("not allowed outside loopback")]);
    }
  }, 60_000);
});
if (why !== null) test.skip(`the image is built and run: ${why}`, () => {});
