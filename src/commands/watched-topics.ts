import { compileGlob, type Glob } from "../bus/embedded/glob.ts";
import { parseFrom, parseTo, type Topic } from "../bus/topics.ts";
import { quoted } from "../config/quote.ts";

/** The topics that a command line of `watch` selects. */
export interface WatchedTopics {
  /** Patterns of Redis, without the prefix; each once. */
  readonly patterns: readonly string[];
  /** For display: `room:*`, or `event say of room:*, from clients`. */
  readonly shown: string;
  /** Whether to show a message that this pattern delivered. Redis delivers it once for each pattern that matches. */
  shows(name: Buffer, pattern: number): boolean;
}

export interface WatchFilter {
  /** Channels (names and patterns), or topics; empty: all channels. */
  readonly operands: readonly string[];
  /** Names and patterns; empty: all. */
  readonly events: readonly string[];
  /** Messages from clients only. */
  readonly from: boolean;
  /** Messages to clients only. */
  readonly to: boolean;
}

/** What a topic begins with; anything else is a channel. */
const TOPIC = /^(to|from|push|hub):/;

/** Characters with a meaning in a pattern of Redis, except the star. */
const SPECIAL = /[?[\]^\\]/g;

interface Selection {
  readonly pattern: string;
  readonly glob: Glob;
  /** Whether a name that the pattern matches is meant. */
  isMeant(name: Buffer): boolean;
}

/** What to subscribe to, or a text that says why it is not possible. */
export function watchedTopics(filter: WatchFilter): WatchedTopics | string {
  const { operands, events, from, to } = filter;
  const directions = from === to ? (["to", "from"] as const) : from ? (["from"] as const) : (["to"] as const);
  const selections: Selection[] = [];
  for (const operand of operands.length > 0 ? operands : ["*"]) {
    if (operand === "") return "a channel has a name; without one, watch shows all channels";
    if (TOPIC.test(operand)) {
      if (from || to || events.length > 0) {
        return `${quoted(operand)} is a topic: --from, --to and --event select messages of channels. Name the channel alone`;
      }
      selections.push(selection(operand, () => true));
    } else {
      for (const direction of directions) selections.push(...ofChannel(direction, operand, events));
    }
  }
  const patterns = [...new Set(selections.map(({ pattern }) => pattern))];
  return {
    patterns,
    shown: describe(filter),
    shows(name, pattern) {
      const first = selections.find(({ glob, isMeant }) => glob.matches(name) && isMeant(name));
      return first !== undefined && first.pattern === patterns[pattern];
    },
  };
}

function ofChannel(direction: "to" | "from", channel: string, events: readonly string[]): Selection[] {
  // Malformed topics too: they are a mistake of a backend.
  if (channel === "*" && events.length === 0) return [selection(`${direction}:*`, () => true)];
  const parse = direction === "to" ? parseTo : parseFrom;
  const channels = compileGlob(Buffer.from(escaped(channel)));
  return (events.length > 0 ? events : ["*"]).map((event) => {
    const names = compileGlob(Buffer.from(escaped(event)));
    // The star of the pattern matches colons, so it also finds channels whose name only begins so.
    const isMeant = (topic: Topic | null) =>
      topic !== null &&
      channels.matches(Buffer.from(topic.channel)) &&
      names.matches(Buffer.from(topic.event));
    return selection(`${direction}:${escaped(channel)}:${escaped(event)}`, (name) => isMeant(parse(name)));
  });
}

function selection(pattern: string, isMeant: (name: Buffer) => boolean): Selection {
  return { pattern, glob: compileGlob(Buffer.from(pattern)), isMeant };
}

function escaped(text: string): string {
  return text.replace(SPECIAL, "\\$&");
}

function describe({ operands, events, from, to }: WatchFilter): string {
  const what = operands.length === 0 ? "all channels" : operands.map(quoted).join(" ");
  const named = events.length === 0 ? "" : `event ${events.map(quoted).join(" ")} of `;
  const way = from === to ? "" : from ? ", from clients" : ", to clients";
  return `${named}${what}${way}`;
}
