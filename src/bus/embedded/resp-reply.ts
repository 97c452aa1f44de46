/** The version of the Redis protocol that a client speaks: 2 until it says `HELLO 3`. */
export type Protocol = 2 | 3;

/**
 * A reply, ready for the wire, as text of one character a byte: names are bytes and need not be UTF-8.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export type Reply = string;

export const OK: Reply = "+OK\r\n";

export function simple(text: string): Reply {
  return `+${text}\r\n`;
}

/** `text` begins with its code: `ERR ...`. */
export function error(text: string): Reply {
  return `-${text.replace(/[\r\n]/g, " ")}\r\n`;
}

export function integer(value: number): Reply {
  return `:${value}\r\n`;
}

export function bulk(bytes: string): Reply {
  return `$${bytes.length}\r\n${bytes}\r\n`;
}

export function nil(protocol: Protocol): Reply {
  return protocol === 3 ? "_\r\n" : "$-1\r\n";
}

export function array(items: readonly Reply[]): Reply {
  return `*${items.length}\r\n${items.join("")}`;
}

/** Keys and values in turn; a flat array before RESP3. */
export function map(protocol: Protocol, items: readonly Reply[]): Reply {
  return protocol === 3 ? `%${items.length / 2}\r\n${items.join("")}` : array(items);
}

/** What concerns a subscription; out of band since RESP3. */
export function push(protocol: Protocol, items: readonly Reply[]): Reply {
  return protocol === 3 ? `>${items.length}\r\n${items.join("")}` : array(items);
}
