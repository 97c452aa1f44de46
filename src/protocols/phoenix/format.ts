import { type Codec, V1, V2 } from "./phoenix-codec.ts";

/** A wire format. Members of one channel with the same format get the same frame. */
export interface Format {
  /** Unique; part of the Bun topic's name. */
  readonly name: string;
  readonly codec: Codec;
  /** Whether binary payloads are sent as binary frames; otherwise as V1 clients get them. */
  readonly binary: boolean;
  /** Whether presence events are sent. */
  readonly presence: boolean;
  /** Whether frames carry positions, for members that asked for recovery. */
  readonly positions: boolean;
}

const FORMATS: readonly Format[] = [V1, V2].flatMap((codec) =>
  [true, false].flatMap((positions) =>
    [true, false].flatMap((presence) =>
      [true, false].map((binary) => ({
        name: `phoenix${codec.version}${binary ? "b" : ""}${presence ? "p" : ""}${positions ? "r" : ""}`,
        codec,
        binary,
        presence,
        positions,
      })),
    ),
  ),
);

/** The format of a member. V1 has no binary frames. */
export function formatOf(codec: Codec, binary: boolean, presence: boolean, positions: boolean): Format {
  const wanted = binary && codec.version === 2;
  const format = FORMATS.find(
    (f) => f.codec === codec && f.binary === wanted && f.presence === presence && f.positions === positions,
  );
  if (format === undefined) throw new Error("every combination has its format");
  return format;
}
