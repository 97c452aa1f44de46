import { BLANK_STAMP } from "../../src/bench/stamp.ts";

const TYPES = ["A320", "A20N", "B738", "B77W", "A388", "E190", "CRJ9", "AT76", "B789", "A21N"];
const LINES = ["AFR", "DLH", "BAW", "EZY", "RYR", "KLM", "SWR", "UAE", "THY", "VLG"];

/**
 * What an aircraft backend sends to a page once a second: `{"count":N,"aircraft":[...]}` of about so many bytes, ASCII,
 * with the mix of short strings, integers and long decimals that such records have. The same seed gives the same text.
 */
export function aircraftPayload(bytes: number, seed: number): string {
  const random = generator(seed);
  const aircraft: string[] = [];
  let length = 0;
  while (length < bytes - 60) {
    const one = aircraftObject(random);
    aircraft.push(one);
    length += one.length + 1;
  }
  return `{"count":${aircraft.length},"aircraft":[${aircraft.join(",")}],"sent":${BLANK_STAMP}}`;
}

function aircraftObject(random: () => number): string {
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)] ?? "";
  const digits = (below: number): number => Math.floor(random() * below);
  const icao24 = digits(2 ** 24)
    .toString(16)
    .padStart(6, "0");
  const seen = 1763730000 + digits(3600) + digits(1000) / 1000;
  return JSON.stringify({
    icao24,
    callsign: `${pick(LINES)}${1 + digits(9998)}`,
    registration: `F-${icao24.toUpperCase().slice(0, 4)}`,
    typecode: pick(TYPES),
    squawk: digits(8 ** 4)
      .toString(8)
      .padStart(4, "0"),
    lastseen: seen,
    firstseen: seen - digits(7200),
    latitude: 40 + random() * 15,
    longitude: -5 + random() * 20,
    altitude: 25 * digits(1600),
    selected_altitude: 100 * digits(400),
    groundspeed: 120 + digits(400) + digits(10) / 10,
    vertical_rate: 64 * (digits(80) - 40),
    track: random() * 360,
    ias: 140 + digits(200),
    tas: 150 + digits(350),
    mach: digits(900) / 1000,
    roll: random() * 20 - 10,
    heading: random() * 360,
    nacp: digits(12),
    count: digits(5000),
    on_ground: random() < 0.05,
    airport: random() < 0.5 ? null : "LFBO",
  });
}

/** A small linear congruential generator: good enough for digits that do not repeat. */
function generator(seed: number): () => number {
  let state = (seed + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
