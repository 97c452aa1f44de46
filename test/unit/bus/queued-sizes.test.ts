import { expect, test } from "bun:test";
import { QueuedSizes } from "../../../src/bus/queued-sizes.ts";

test("backends take the oldest calls: what is left are the newest, as many as the queue is long", () => {
  const sizes = new QueuedSizes();
  for (const bytes of [1, 20, 300]) {
    sizes.add(bytes);
    sizes.confirm();
  }
  const left = [5, 3, 2, 1, 0].map((length) => {
    sizes.shorten(length);
    return sizes.bytes;
  });
  expect(left).toEqual([321, 321, 320, 300, 0]);
});

test("a length may be without calls that the broker has not confirmed", () => {
  const sizes = new QueuedSizes();
  sizes.add(1);
  sizes.add(20);
  sizes.confirm();
  sizes.shorten(0);
  expect(sizes.bytes).toBe(20);
  sizes.confirm();
  sizes.shorten(0);
  expect(sizes.bytes).toBe(0);
});
