import { describe, expect, test } from "bun:test";
import { good, refusal, toml } from "./workspace.ts";

const SECRET = 'hook_secret = "sixteen characters"\n';

describe("webhook", () => {
  test("is an address, which may have a query, or off", () => {
    for (const [text, url] of [
      ["https://app.example/hooks", "https://app.example/hooks"],
      ["http://10.0.0.5:8000/hooks?app=1", "http://10.0.0.5:8000/hooks?app=1"],
      ["https://app.example", "https://app.example/"],
      ["off", null],
    ] as const) {
      expect(good(toml(`${SECRET}webhook = "${text}"`)).webhook).toBe(url);
    }
    expect(good(toml("")).webhook).toBeNull();
  });

  test("is refused where it is none, or has a user or a fragment", () => {
    for (const bad of [
      "app.example/hooks",
      "ftp://app.example/",
      "https://me:secret@app.example/",
      "https://a.example/#x",
    ]) {
      expect(refusal(toml(`${SECRET}webhook = "${bad}"`))).toStartWith(
        "2: channel.toml: webhook must be an http:// or https:// address without user and fragment",
      );
    }
  });

  test("requires hook_secret", () => {
    expect(refusal(toml('webhook = "https://app.example/hooks"'))).toBe(
      "2: channel.toml: webhook requires hook_secret",
    );
  });

  test("webhook_events are some of the known ones, by default all", () => {
    expect(good(toml("")).webhookEvents).toHaveLength(5);
    expect(good(toml('webhook_events = ["gap", "member_added"]')).webhookEvents).toEqual([
      "gap",
      "member_added",
    ]);
    expect(good({ env: { WEBHOOK_EVENTS: "gap,channel_vacated" } }).webhookEvents).toEqual([
      "gap",
      "channel_vacated",
    ]);
    expect(refusal(toml('webhook_events = ["member_joined"]'))).toContain(
      "webhook_events must be a list of channel_occupied, channel_vacated, member_added, member_removed, gap",
    );
  });
});
