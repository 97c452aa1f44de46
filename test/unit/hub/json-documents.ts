/** Returns an integer from 0 to `below` - 1. */
export type Random = (below: number) => number;

const pick = <T>(random: Random, from: readonly [T, ...T[]]): T => from[random(from.length)] ?? from[0];

/** A JSON text of at most `levels` levels, with all variants that the grammar allows. */
export function jsonDocument(random: Random, levels: number): string {
  const space = (): string =>
    random(3) === 0 ? pick(random, ["", " ", "  ", "\n", "\t", "\r\n", " ".repeat(random(80))]) : "";
  const value = (left: number): string => {
    const kind = random(left > 0 ? 10 : 6);
    if (kind < 2) return jsonString(random);
    if (kind < 5) return jsonNumber(random);
    if (kind < 6) return pick(random, ["null", "true", "false"]);
    const members = Array.from({ length: random(5) }, () => {
      const one = space() + value(left - 1) + space();
      return kind < 8 ? one : `${space()}${jsonString(random)}${space()}:${one}`;
    });
    const inner = members.length === 0 ? space() : members.join(",");
    return kind < 8 ? `[${inner}]` : `{${inner}}`;
  };
  return space() + value(levels) + space();
}

function jsonString(random: Random): string {
  const parts = [
    "a",
    "b c",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '\\"',
    "\\\\",
    "\\n",
    "\\u00e9",
    "\\uD800",
    "é",
    "€",
    "😀",
    "x".repeat(random(70)),
  ];
  return `"${Array.from({ length: random(7) }, () => parts[random(parts.length)]).join("")}"`;
}

function jsonNumber(random: Random): string {
  const digits = (): string => String(random(10 ** (1 + random(9))));
  const integer = random(3) === 0 ? "0" : digits();
  const fraction = random(2) === 0 ? `.${"0".repeat(random(3))}${digits()}` : "";
  const exponent =
    random(5) === 0
      ? pick(random, ["e", "E"]) + pick(random, ["", "+", "-"]) + pick(random, ["", "0"]) + digits()
      : "";
  return (random(3) === 0 ? "-" : "") + integer + fraction + exponent;
}

const TELLING = [...'"\\{}[],:0123456789-+.eEtrufalsn \n\t\r/x', "\u0000", "\u001f", "\u007f"].map((one) =>
  one.charCodeAt(0),
);

/** The text with one to three small accidents. */
export function mutated(random: Random, text: Uint8Array): Uint8Array {
  const bytes = [...text];
  for (let times = 1 + random(3); times > 0; times--) {
    const at = random(bytes.length + 1);
    const one = random(12) === 0 ? random(256) : (TELLING[random(TELLING.length)] ?? 0);
    const accident = random(6);
    if (accident === 0) bytes.splice(at, 1);
    else if (accident === 1) bytes.splice(at, 0, one);
    else if (accident === 2) bytes.splice(at, 1, one);
    else if (accident === 3) bytes.splice(at, 0, ...bytes.slice(at, at + random(20)));
    else if (accident === 4) bytes.splice(at, random(20));
    else bytes.splice(at);
  }
  return Uint8Array.from(bytes);
}

/** Every way to put a number together, with parts that are missing, doubled or not allowed. */
export function* numbers(): Generator<string> {
  const exponents = "|e|e0|E05|e+1|e-01|e+|e+-1|e1e1|e1.5|e1-|x".split("|");
  for (const sign of ["", "-", "+", "--"]) {
    for (const integer of ["", "0", "00", "01", "7", "70", "123456789"]) {
      for (const fraction of ["", ".", ".0", ".05", ".5.", ".5.5", ".-5"]) {
        for (const exponent of exponents) yield sign + integer + fraction + exponent;
      }
    }
  }
}
