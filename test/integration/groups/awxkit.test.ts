import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../phoenix-client.ts";
import { startWorld, type World } from "../world.ts";
import { type Awxkit, startAwxkit } from "./awxkit.ts";
import { AWX_GROUPS } from "./groups-client.ts";
import { type Nginx, startNginx } from "./nginx.ts";

/** Each of awxkit's methods that subscribe, what it is called with, and what it then follows. */
const METHODS: readonly (readonly [string, readonly number[], readonly string[]])[] = [
  ["job_details", [41, 42], ["jobs-status_changed", "jobs-summary", "job_events-41", "job_events-42"]],
  ["status_changes", [], ["jobs-status_changed"]],
  ["job_stdout", [43], ["jobs-status_changed", "job_events-43"]],
  ["ad_hoc_stdout", [44], ["jobs-status_changed", "ad_hoc_command_events-44"]],
  ["project_update_stdout", [45], ["jobs-status_changed", "project_update_events-45"]],
  ["inventory_update_stdout", [46], ["jobs-status_changed", "inventory_update_events-46"]],
  ["workflow_events", [47], ["jobs-status_changed", "workflow_events-47"]],
  ["system_job_events", [48], ["jobs-status_changed", "system_job_events-48"]],
  ["jobs_list", [], ["jobs-status_changed", "jobs-summary", "schedules-changed"]],
  ["dashboard", [], ["jobs-status_changed"]],
];

/** The methods that wait for a job to be pending, and then follow the events of that job. */
const PENDING: readonly (readonly [string, string])[] = [
  ["pending_job_details", "job_events"],
  ["pending_job_stdout", "job_events"],
  ["pending_ad_hoc_stdout", "ad_hoc_command_events"],
  ["pending_project_update_stdout", "project_update_events"],
  ["pending_inventory_update_stdout", "inventory_update_events"],
  ["pending_workflow_events", "workflow_events"],
  ["pending_system_job_events", "system_job_events"],
];

let world: World;
let nginx: Nginx;
beforeAll(async () => {
  world = await startWorld("redis", { toml: 'trusted_proxies = ["127.0.0.1"]\n' });
  nginx = await startNginx(world.channel.port);
});
afterAll(async () => {
  await nginx?.stop();
  await world?.stop();
});

/** Where awxkit connects: straight to us, or to an nginx that ends TLS. */
const ROADS = {
  "straight to us": () => startAwxkit(world.channel.port, tokenForAll()),
  "through nginx and TLS": () => startAwxkit(nginx.port, tokenForAll(), true),
};

function tokenForAll(): string {
  return world.token("jobs", { channels: AWX_GROUPS.map(([group]) => group) });
}

function groupOf(name: string): string {
  return name.slice(0, name.indexOf("-"));
}

/** The answer to what awxkit has just sent. */
async function answer(client: Awxkit): Promise<{ current: string[]; left: string[]; joined: string[] }> {
  const value = Object(
    await client.received.until((each) => "groups_current" in Object(each), "an answer with groups_current"),
  );
  expect(Object.keys(value).sort()).toEqual(["groups_current", "groups_joined", "groups_left"]);
  return {
    current: value.groups_current.sort(),
    left: value.groups_left.sort(),
    joined: value.groups_joined.sort(),
  };
}

/** Publishes for a dashed name as AWX does, and sees awxkit receive it. */
async function heard(client: Awxkit, name: string): Promise<void> {
  const payload = { group_name: groupOf(name), text: `said on ${name} with ünïcode`, at: Math.random() };
  const dash = name.indexOf("-");
  await world.backend.publish(`to:${name.slice(0, dash)}:${name.slice(dash + 1)}`, JSON.stringify(payload));
  await client.received.until((each) => Object(each).at === payload.at, `what was published on ${name}`);
}

for (const [road, connect] of Object.entries(ROADS)) {
  describe(`awxkit's WSClient ${road}`, () => {
    let client: Awxkit;
    beforeAll(async () => {
      client = await connect();
    });
    afterAll(() => client?.stop());

    test("is accepted by the token of its cookie, first of all", async () => {
      expect(await client.received.next()).toEqual({ accept: true, user: "alice" });
    });

    test("offers no method that these tests leave out", () => {
      const others = ["connect", "close", "subscribe", "unsubscribe", "subscribe_to_pending_events"];
      const tried = [...METHODS, ...PENDING].map(([method]) => method).concat(others);
      expect(client.methods.toSorted()).toEqual(tried.toSorted());
    });

    test("follows with each of its methods exactly what the method says, and receives", async () => {
      let before: readonly string[] = [];
      for (const [method, ids, follows] of METHODS) {
        await client.call(method, ids);
        const { current, left, joined } = await answer(client);
        expect([method, ...current]).toEqual([method, ...follows.toSorted()]);
        expect(left).toEqual(before.filter((name) => !follows.includes(name)).toSorted());
        expect(joined).toEqual(follows.filter((name) => !before.includes(name)).toSorted());
        for (const name of follows) await heard(client, name);
        before = follows;
      }
    });

    test("follows a job reported as pending, with each of its methods", async () => {
      let id = 100;
      for (const [method, group] of PENDING) {
        id++;
        await client.call(method);
        await answer(client);
        const project_id = group === "project_update_events" ? 5 : null;
        await world.backend.publish(
          "to:jobs:status_changed",
          JSON.stringify({ group_name: "jobs", status: "pending", unified_job_id: id, project_id }),
        );
        expect((await answer(client)).current).toContain(`${group}-${id}`);
        await heard(client, `${group}-${id}`);
      }
    });

    test("follows what it names itself once a job is pending", async () => {
      await client.call("subscribe_to_pending_events", ["workflow_events", ["summary", "status_changed"]]);
      expect((await answer(client)).current).toEqual(["jobs-status_changed", "jobs-summary"]);
      await world.backend.publish(
        "to:jobs:summary",
        JSON.stringify({ group_name: "jobs", status: "pending", unified_job_id: 300 }),
      );
      expect((await answer(client)).joined).toEqual(["workflow_events-300"]);
    });

    test("subscribes to what it likes, and leaves everything", async () => {
      await client.call("subscribe", [], { control: ["limit_reached_7"], schedules: ["changed"] });
      expect((await answer(client)).current).toEqual(["control-limit_reached_7", "schedules-changed"]);
      await heard(client, "control-limit_reached_7");
      // It waits for our answer by itself, and raises where none comes.
      await client.call("unsubscribe");
      expect(await answer(client)).toEqual({
        current: [],
        left: ["control-limit_reached_7", "schedules-changed"],
        joined: [],
      });
      await client.call("status_changes");
      await answer(client);
      await client.call("unsubscribe", [], { wait: false });
      expect((await answer(client)).left).toEqual(["jobs-status_changed"]);
      await world.backend.publish("to:control:limit_reached_7", '{"late":true}');
      await client.call("subscribe", [], { jobs: ["summary"] });
      await answer(client);
      await heard(client, "jobs-summary");
      expect(client.received.all.filter((each) => Object(each).late)).toEqual([]);
    });

    test("receives the groups that its token does not cover", async () => {
      await client.call("subscribe", [], { jobs: ["summary"], secrets: [1] });
      expect(await client.received.next()).toEqual({
        error: "access denied to channel secrets for resource id 1",
      });
      expect((await answer(client)).current).toEqual(["jobs-summary"]);
    });

    test("closes, and we know it", async () => {
      await client.call("close");
      await eventually(async () => {
        const text = await (
          await fetch(`${world.channel.url}/metrics`, { headers: { "x-forwarded-for": "127.0.0.1" } })
        ).text();
        return text.includes('channel_connections{protocol="groups"} 0');
      }, "no group client");
    });
  });
}

describe("awxkit's WSClient with a token that is none", () => {
  test("is told so, and closed", async () => {
    const client = await startAwxkit(world.channel.port, "not-a-token");
    try {
      expect(await client.received.next()).toEqual({ accept: false, close: true });
    } finally {
      await client.stop();
    }
  });
});
