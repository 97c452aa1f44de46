#!/usr/bin/env node
// Runs the executable from the package of this platform. Node 22.15 and newer is replaced by it; an older one waits for it, passes
// signals on and ends as it ends.
"use strict";
const { spawn } = require("node:child_process");
const { isatty } = require("node:tty");
const { name, version, optionalDependencies } = require("./package.json");

function fail(message) {
  console.error(`channel: ${message}`);
  process.exit(1);
}

function usesMusl() {
  if (process.platform !== "linux") return false;
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime === undefined;
}

function findExecutable() {
  const platform = `${process.platform}-${process.arch}${usesMusl() ? "-musl" : ""}`;
  const holder = `${name}-${platform}`;
  if (!Object.hasOwn(optionalDependencies, holder)) {
    const platforms = Object.keys(optionalDependencies).map((each) => each.slice(name.length + 1));
    fail(`there is no executable for ${platform}. There is one for ${platforms.join(", ")}.`);
  }
  try {
    return require.resolve(`${holder}/channel${process.platform === "win32" ? ".exe" : ""}`);
  } catch {
    return fail(
      `the package ${holder} is not installed. npm leaves it out with --omit=optional, and where node_modules was copied from ` +
        `another platform. Install it: npm install ${holder}@${version}`,
    );
  }
}

const executable = findExecutable();
const args = process.argv.slice(2);
if (typeof process.execve === "function" && process.platform !== "win32")
  process.execve(executable, [executable, ...args]);

const child = spawn(executable, args, { stdio: "inherit" });
child.on("error", (error) => fail(`${executable} does not start: ${error.message}`));
const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
for (const signal of signals)
  process.on(signal, () => {
    // A terminal sends Ctrl-C to both; a second SIGINT would end a server that is still disconnecting its clients.
    if (signal !== "SIGINT" || !isatty(0)) child.kill(signal);
  });
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  for (const each of signals) process.removeAllListeners(each);
  process.kill(process.pid, signal);
});
