import { expect, test } from "bun:test";
import { parseAmqpAddress } from "../../../src/bus/amqp/amqp-address.ts";
import { isPersistent, reasonOf } from "../../../src/bus/amqp/amqp-reasons.ts";

test("an address has defaults: guest, the standard port, the virtual host /", () => {
  expect(parseAmqpAddress("amqp://localhost")).toEqual({
    secure: false,
    host: "localhost",
    port: 5672,
    username: "guest",
    password: "guest",
    vhost: "/",
    shown: "localhost:5672",
  });
  expect(parseAmqpAddress("amqps://localhost/")).toMatchObject({ secure: true, port: 5671, vhost: "/" });
});

test("parts are decoded; what is shown has no password", () => {
  const address = parseAmqpAddress("amqp://us%40er:p%2Fa%3Ass@[::1]:7/a%2Fb");
  expect(address).toEqual({
    secure: false,
    host: "::1",
    port: 7,
    username: "us@er",
    password: "p/a:ss",
    vhost: "a/b",
    shown: "[::1]:7/a/b",
  });
});

test("other addresses are refused", () => {
  for (const bad of ["", "redis://localhost", "amqp://", "amqp:localhost", "amqp://a:%zz@localhost"]) {
    expect(() => parseAmqpAddress(bad)).toThrow("amqp_url");
  }
});

test("reasons are RabbitMQ's own words, on one line and without the password", () => {
  const address = parseAmqpAddress("amqp://user:hidden-word@localhost/there");
  const words =
    'Operation failed: QueueDeclare; 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - no\nhidden-word"';
  expect(reasonOf(new Error(words), address)).toBe("ACCESS_REFUSED - no ***");
  expect(isPersistent(reasonOf(new Error(words), address))).toBe(true);
  expect(reasonOf(Object.assign(new Error("x"), { code: "ECONNREFUSED" }), address)).toBe(
    "connection refused",
  );
  expect(reasonOf(new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>"), address)).toBe(
    "the virtual host there does not exist, or the user may not use it",
  );
  expect(reasonOf(undefined, address)).toBe("the connection was closed");
});
