import { describe, expect, test } from "bun:test";
import { Positions, printMarker } from "../../../../src/hub/history/positions.ts";

function marker(micros: number): string {
  return printMarker(micros, "a1");
}

function counted(messages: number, positions = new Positions()): Positions {
  for (let i = 0; i < messages; i++) positions.advance();
  return positions;
}

describe("positions", () => {
  test("count messages from the newest marker", () => {
    const positions = new Positions();
    expect(positions.current).toBeNull();
    positions.mark(marker(1000));
    expect(positions.current).toBe("rs.a1-0");
    counted(3, positions);
    expect(positions.current).toBe("rs.a1-3");
    positions.mark(marker(2000));
    expect(positions.current).toBe("1jk.a1-0");
    expect(positions.at(2)).toBe("rs.a1-2");
    expect(positions.resolve("rs.a1-2")).toBe(2);
    expect(positions.resolve("rs.a1-3")).toBe(positions.resolve("1jk.a1-0"));
  });

  test("ignore a marker that is not above the newest, or is malformed", () => {
    const positions = new Positions();
    positions.mark(marker(2000));
    counted(2, positions);
    for (const id of [
      marker(2000),
      marker(1000),
      "",
      "x",
      "-1.a",
      "zzzzzzzzzzzz.a1",
      "rs.A",
      "rs.",
      "1jk.a1 ",
    ]) {
      positions.mark(id);
      expect(positions.current).toBe("1jk.a1-2");
    }
  });

  test("reject positions of unknown markers and beyond the count of a marker", () => {
    const positions = new Positions();
    positions.mark(marker(1000));
    counted(3, positions);
    positions.mark(marker(2000));
    for (const position of [
      "",
      "5",
      "rs.a1",
      "rs.a1-",
      "rs.a1-x",
      "rs.a1-4",
      "aa.a1-1",
      "rs.a1--1",
      "rs.a1-1e3",
    ]) {
      expect(positions.resolve(position)).toBe("unknown position");
    }
  });

  test("report a position that another server has counted already as ahead", () => {
    const positions = new Positions();
    positions.mark(marker(1000));
    counted(3, positions);
    expect(positions.resolve("rs.a1-4")).toBe("ahead");
    expect(positions.resolve(`${marker(5000)}-1`)).toBe("ahead");
  });

  test("cannot be resumed across a gap, and know no position until the next marker", () => {
    const positions = new Positions();
    positions.mark(marker(1000));
    counted(3, positions);
    positions.gap();
    expect(positions.current).toBeNull();
    expect(positions.at(3)).toBe("rs.a1-3");
    expect(positions.at(positions.advance())).toBeNull();
    expect(positions.resolve("rs.a1-3")).toBe("gap");
    expect(positions.resolve("rs.a1-9")).toBe("gap");
    counted(1, positions);
    positions.mark(marker(2000));
    expect(positions.current).toBe("1jk.a1-0");
    expect(positions.resolve("rs.a1-1")).toBe("gap");
    expect(positions.resolve("1jk.a1-0")).toBe(positions.seq);
    expect(positions.isBeforeGap(3)).toBe(true);
    expect(positions.isBeforeGap(positions.seq)).toBe(false);
  });

  test("of 1,024 markers are known", () => {
    const positions = new Positions();
    for (let i = 1; i <= 1025; i++) {
      positions.mark(marker(i));
      positions.advance();
    }
    expect(positions.resolve(`${marker(1)}-1`)).toBe("unknown position");
    expect(positions.resolve(`${marker(2)}-1`)).toBe(2);
    expect(positions.resolve(`${marker(1025)}-1`)).toBe(1025);
    expect(positions.at(1)).toBe(`${marker(2)}-0`);
  });

  test("from before the start are known once another server's count is", () => {
    const positions = new Positions();
    positions.mark(marker(3000));
    counted(2, positions);
    positions.precede(marker(3000), marker(2000), 10);
    positions.precede(marker(2000), marker(1000), 5);
    expect(positions.resolve(`${marker(2000)}-4`)).toBe(-6);
    expect(positions.resolve(`${marker(1000)}-5`)).toBe(-10);
    expect(positions.at(-6)).toBe(`${marker(2000)}-4`);
    expect(positions.current).toBe(`${marker(3000)}-2`);
    positions.precede(marker(2000), marker(500), 5);
    expect(positions.resolve(`${marker(500)}-1`)).toBe("unknown position");
  });
});
