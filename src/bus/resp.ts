/** The version of the Redis protocol that a client uses: 2 until it sends `HELLO 3`. */
export type Protocol = 2 | 3;

/**
 * A value or request in the Redis protocol, as latin1 text: one character is one byte, names need not be UTF-8.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export type Resp = string;

export const OK: Resp = "+OK\r\n";

export function simple(text: string): Resp {
  return `+${text}\r\n`;
}

/** `text` begins with its code: `ERR ...`. */
export function error(text: string): Resp {
  return `-${text.replace(/[\r\n]/g, " ")}\r\n`;
}

export function integer(value: number): Resp {
  return `:${value}\r\n`;
}

export function bulk(bytes: string): Resp {
  return `${bulkHead(bytes.length)}${bytes}\r\n`;
}

/** What comes before the bytes of a bulk string; `\r\n` follows them. */
export function bulkHead(length: number): Resp {
  return `$${length}\r\n`;
}

export function nil(protocol: Protocol): Resp {
  return protocol === 3 ? "_\r\n" : "$-1\r\n";
}

/** A list that is not there. */
export function nilArray(protocol: Protocol): Resp {
  return protocol === 3 ? "_\r\n" : "*-1\r\n";
}

export function array(items: readonly Resp[]): Resp {
  return `*${items.length}\r\n${items.join("")}`;
}

/** Alternating keys and values; a flat array in RESP2. */
export function map(protocol: Protocol, items: readonly Resp[]): Resp {
  return protocol === 3 ? `%${items.length / 2}\r\n${items.join("")}` : array(items);
}

/** A message or the confirmation of a subscription; out of band in RESP3. */
export function push(protocol: Protocol, items: readonly Resp[]): Resp {
  return protocol === 3 ? `>${items.length}\r\n${items.join("")}` : array(items);
}

/** A request; the words are ASCII. */
export function request(...words: readonly string[]): Resp {
  return array(words.map(bulk));
}
