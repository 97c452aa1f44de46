import { describe, expect, test } from "bun:test";
import { good, refusal, toml } from "./workspace.ts";

describe("bus = amqp", () => {
  test("has an address, exchanges and a bound", () => {
    const config = good(toml('bus = "amqp"\namqp_url = "amqps://u:p@there/v"\namqp_queue_bytes = "1MiB"'));
    expect(config).toMatchObject({
      bus: "amqp",
      amqpUrl: "amqps://u:p@there/v",
      amqpExchangeTo: "channel.to",
      amqpExchangeFrom: "channel.from",
      amqpQueueBytes: 1024 * 1024,
    });
  });

  test("refuses what needs Redis, with one sentence", () => {
    const cases = [
      [
        'prefix = "a."',
        'prefix: bus = "amqp" names exchanges by amqp_exchange_to and amqp_exchange_from instead',
      ],
      [
        'fleet_secret = "secret"',
        'fleet_secret: bus = "amqp" connects no servers with each other: that needs Redis',
      ],
      [
        'node_url = "http://a:1"',
        'node_url: bus = "amqp" connects no servers with each other: that needs Redis',
      ],
      ['amqp_exchange_from = "channel.to"', "amqp_exchange_from is the same as amqp_exchange_to"],
    ] as const;
    for (const [line, sentence] of cases) {
      expect(refusal(toml(`bus = "amqp"\n${line}`))).toStartWith(`2: channel.toml: ${sentence}`);
      expect(good(toml(line.startsWith("amqp") ? "" : line)).bus).toBe("auto");
    }
    expect(refusal(toml('bus = "amqp"\n[channels."a"]\nsender = true'))).toBe(
      '2: channels."a".sender: bus = "amqp" has no push: messages: they need Redis',
    );
    const calls = (to: string) =>
      toml(`bus = "amqp"\nhook_secret = "sixteen characters"\n[channels."a"]\ncalls = ["c"]\n${to}`);
    for (const to of ["", 'call_to = "redis"', 'call_to = "queue:a"']) {
      expect(refusal(calls(to))).toBe(
        '2: channels."a".call_to: bus = "amqp" takes calls to an address only: the others need Redis',
      );
    }
    expect(good(calls('call_to = "https://app.example/calls"')).bus).toBe("amqp");
    expect(refusal(toml('bus = "amqp"\n[channels."a"]\nhistory = 1\nhistory_store = "redis"'))).toBe(
      '2: channels."a".history_store: bus = "amqp" keeps history in memory only',
    );
  });

  test("refuses addresses and names that are none, and shows no password", () => {
    for (const bad of ["redis://a", "amqp://", "amqp:a", "amqp://u:%zz@a", "amqp://a/%", "amqp://a b"]) {
      expect(refusal(toml(`amqp_url = "${bad}"`))).toStartWith(
        "2: channel.toml: amqp_url must be an address",
      );
    }
    expect(refusal(toml('amqp_url = "amqp://u:hidden%zz@a"'))).not.toContain("hidden");
    for (const bad of ["", "amq.topic", "a b", "a".repeat(128)]) {
      expect(refusal(toml(`amqp_exchange_to = "${bad}"`))).toStartWith(
        "2: channel.toml: amqp_exchange_to must be",
      );
    }
  });
});
