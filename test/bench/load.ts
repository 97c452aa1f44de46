/**
 * The load generator: plays one scene against one server and prints what it found as one line of JSON. A process of its
 * own, so that its work is never counted as the server's. Started by run.ts.
 */
import { parseArgs } from "node:util";
import { dialects } from "./dialects.ts";
import { growth } from "./scenes/growth.ts";
import { steady } from "./scenes/paced.ts";
import { scenes } from "./scenes.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    scene: { type: "string", default: "" },
    url: { type: "string", default: "" },
    pid: { type: "string", default: "" },
    "redis-url": { type: "string", default: "" },
    dialect: { type: "string", default: "" },
    secret: { type: "string", default: "" },
    form: { type: "string", default: "full" },
  },
});

const scene = [...scenes, ...growth, steady].find(({ name }) => name === values.scene);
if (scene === undefined) throw new Error(`no scene is called ${values.scene}`);
const dialect = dialects.find(({ name }) => name === values.dialect);
if (dialect === undefined) throw new Error(`no dialect is called ${values.dialect}`);
const figures = await scene.play({
  url: values.url,
  pid: Number(values.pid),
  redisUrl: values["redis-url"],
  secret: values.secret,
  dialect,
  short: values.form !== "full",
  quick: values.form === "quick",
});
console.log(JSON.stringify(figures));
process.exit(0);
