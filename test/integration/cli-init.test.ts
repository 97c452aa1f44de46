import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../src/config/config.ts";
import { Folders, runCommand } from "./cli-process.ts";

const DEPLOY = join(import.meta.dir, "../../deploy");
const SECRET = "a-long-secret-that-nobody-could-guess";

const folders = new Folders();

afterAll(() => folders.remove());

function read(...path: readonly string[]): string {
  return readFileSync(join(...path), "utf8");
}

function modeOf(...path: readonly string[]): number {
  return statSync(join(...path)).mode & 0o777;
}

/** What a deployment writes, beside the executable. */
const FILES = {
  docker: [".dockerignore", "Containerfile", "compose.yaml", "secrets/admin_secret", "secrets/jwt_secret"],
  systemd: [
    "channel.service",
    "channel.toml",
    "credentials/admin_secret",
    "credentials/jwt_secret",
    "install.sh",
  ],
} as const;

describe.each(["docker", "systemd"] as const)("init --%s", (kind) => {
  test("writes the files of deploy/ with new secrets that no other user reads", async () => {
    const cwd = folders.create();
    const { code, out, err } = await runCommand(["init", `--${kind}`], { cwd });
    expect([code, err]).toEqual([0, ""]);
    const written = out.trimEnd().split("\n").toSorted();
    expect(written).toEqual([...FILES[kind], "channel"].toSorted());
    const secrets = FILES[kind].filter((path) => path.endsWith("_secret"));
    expect(new Set(secrets.map((path) => read(cwd, path))).size).toBe(2);
    for (const path of secrets) expect(read(cwd, path)).toMatch(/^[\w-]{43}\n$/);
    expect(modeOf(cwd, kind === "docker" ? "secrets" : "credentials")).toBe(0o700);
    const version = Bun.spawn([join(cwd, "channel"), "--version"], { stdout: "pipe" });
    expect(await new Response(version.stdout).text()).toStartWith("channel ");
  });

  test("writes nothing where a file or folder exists", async () => {
    for (const path of FILES[kind]) {
      const cwd = folders.create();
      const [folder = ""] = path.includes("/") ? path.split("/") : [];
      if (folder === "") writeFileSync(join(cwd, path), "mine");
      else mkdirSync(join(cwd, folder));
      const before = readdirSync(cwd);
      const { code, out, err } = await runCommand(["init", `--${kind}`], { cwd });
      expect([code, out]).toEqual([1, ""]);
      expect(err).toEndWith(" exists and is not overwritten: run the command in an empty folder\n");
      expect(readdirSync(cwd)).toEqual(before);
    }
  });
});

test("init --docker: the image and the services name files that are there, and differ from deploy/ in nothing else", async () => {
  const cwd = folders.create();
  await runCommand(["init", "--docker"], { cwd });
  const image = read(cwd, "Containerfile");
  for (const [, source = ""] of image.matchAll(/^COPY (?:--\S+ )*(\S+)/gm))
    expect(existsSync(join(cwd, source))).toBe(true);
  const rest = (text: string) => text.split("\n").filter((line) => !/^(#|COPY)/.test(line));
  expect(rest(image)).toEqual(rest(read(DEPLOY, "Containerfile")));
  const services: unknown = Bun.YAML.parse(read(cwd, "compose.yaml"));
  const ours: unknown = Bun.YAML.parse(read(DEPLOY, "compose.yaml"));
  expect(services).toMatchObject({
    services: { channel: { build: { context: ".", dockerfile: "Containerfile" } } },
    secrets: {
      jwt_secret: { file: "./secrets/jwt_secret" },
      admin_secret: { file: "./secrets/admin_secret" },
    },
  });
  expect(Object(services).services.redis).toEqual(Object(ours).services.redis);
  // The user of the container, who is another one, reads them.
  expect(modeOf(cwd, "secrets/jwt_secret")).toBe(0o644);
});

test("init --systemd: install.sh installs a configuration that works, and keeps secrets and settings afterwards", async () => {
  const cwd = folders.create();
  const root = folders.create();
  await runCommand(["init", "--systemd"], { cwd });
  expect(read(cwd, "channel.service")).toBe(read(DEPLOY, "channel.service"));
  const install = () =>
    Bun.spawnSync(["sh", join(cwd, "install.sh")], {
      env: { PATH: process.env.PATH ?? "", DESTDIR: root },
      stderr: "inherit",
    }).exitCode;
  expect(install()).toBe(0);
  const credentials = join(root, "etc/channel/credentials");
  expect(modeOf(credentials)).toBe(0o700);
  expect(modeOf(credentials, "jwt_secret")).toBe(0o600);
  expect(existsSync(join(root, "etc/systemd/system/channel.service"))).toBe(true);
  const installed = Bun.spawn(
    [join(root, "usr/bin/channel"), "config", "--json", "--config", join(root, "etc/channel/channel.toml")],
    {
      cwd,
      env: {
        JWT_SECRET_FILE: join(credentials, "jwt_secret"),
        ADMIN_SECRET_FILE: join(credentials, "admin_secret"),
      },
      stdout: "pipe",
    },
  );
  expect(JSON.parse(await new Response(installed.stdout).text())).toMatchObject({ warnings: [] });

  writeFileSync(join(credentials, "jwt_secret"), "kept");
  writeFileSync(join(root, "etc/channel/channel.toml"), "port = 1");
  expect(install()).toBe(0);
  expect(read(credentials, "jwt_secret")).toBe("kept");
  expect(read(root, "etc/channel/channel.toml")).toBe("port = 1");
});

describe("init --tangram", () => {
  test("writes a configuration for a server beside Tangram's own", async () => {
    const cwd = folders.create();
    const toml = `[core]\nredis_url = "redis://10.0.0.1:6379"\n[channel]\nport = 2347\njwt_secret = "${SECRET}"\n`;
    writeFileSync(join(cwd, "tangram.toml"), toml);
    expect(await runCommand(["init", "--tangram"], { cwd })).toEqual({
      code: 0,
      out: "channel.toml\n",
      err: 'channel: note: set public_url = "http://127.0.0.1:2025" in [channel] of tangram.toml: pages then use this server\n',
    });
    const loaded = loadConfig({ flags: { config: "channel.toml" }, env: {}, cwd });
    expect(loaded.ok && loaded.config).toMatchObject({
      port: 2025,
      redisUrl: "redis://10.0.0.1:6379",
      jwtSecret: SECRET,
      allowedOrigins: "*",
    });
  });

  test("names the port that pages must reach, and the file with --from", async () => {
    const cwd = folders.create();
    const toml = `[channel]\nport = 2025\npublic_url = "https://map.example.org"\njwt_secret = "${SECRET}"\n`;
    mkdirSync(join(cwd, "map"));
    writeFileSync(join(cwd, "map/tangram.toml"), `[core]\n${toml}`);
    const { code, err } = await runCommand(["init", "--tangram", "--from", "map/tangram.toml"], { cwd });
    expect([code, err]).toEqual([
      0,
      "channel: note: pages use https://map.example.org (public_url in tangram.toml): it must lead to port 2026\n",
    ]);
  });

  test("says where to run it without a tangram.toml", async () => {
    const { code, err } = await runCommand(["init", "--tangram"], { cwd: folders.create() });
    expect([code, err]).toEqual([
      1,
      "channel: cannot read tangram.toml: no such file. Run it in the folder of tangram.toml, or name the file with --from\n",
    ]);
  });
});

test("init refuses flags that exclude each other", async () => {
  const cwd = folders.create();
  for (const [args, line] of [
    [["--docker", "--systemd"], "--docker and --systemd write different files: use one of them"],
    [["--docker", "--from", "a.toml"], "--docker writes a folder of files: --from and --config are for"],
    [["--systemd", "--config", "a.toml"], "--systemd writes a folder of files: --from and --config are for"],
  ] as const) {
    const { code, out, err } = await runCommand(["init", ...args], { cwd });
    expect([code, out]).toEqual([2, ""]);
    expect(err).toStartWith(`channel: ${line}`);
  }
  expect(readdirSync(cwd)).toEqual([]);
});
