import { isObject, type JsonObject } from "../auth/json-object.ts";

/** Longest report that is read, in bytes. */
const MAX_BYTES = 64 * 1024;

/** Longest text of a report, in characters. */
const MAX_TEXT = 255;

/** The most entries of a list or of counts by name. */
const MAX_ENTRIES = 64;

/** What a server reports to the others every 2 s, besides its identity. */
export interface NodeFigures {
  readonly version: string;
  /** Where it listens: `http://10.0.0.1:2025`. */
  readonly address: string;
  /** Where other servers reach it (`node_url`); `null` if that is not configured. */
  readonly nodeUrl: string | null;
  /** Seconds since it started. */
  readonly uptime: number;
  readonly connections: number;
  readonly channels: number;
  /** Messages and bytes per second. */
  readonly rates: { readonly received: number; readonly delivered: number; readonly pushed: number };
  /** CPU time per time: 1 is one core. */
  readonly cpu: number;
  /** Resident memory in bytes. */
  readonly memory: number;
  /** Maximum event loop delay of the last seconds, in ms. */
  readonly loopDelay: number;
  /** Subscriptions lost since start. */
  readonly gaps: number;
  readonly draining: boolean;
  /** The position of the newest message that it received; `null` while unknown. */
  readonly position: string | null;
}

/** The message `hub:node`. */
export interface NodeReport extends NodeFigures {
  readonly incarnation: string;
  /** Earlier incarnations of the process. */
  readonly previous: readonly string[];
  readonly name: string;
  /** Counts the messages of the process: one with a number that is not greater than the last is a repetition. */
  readonly seq: number;
  /** Whether it stops now: it sends nothing more. */
  readonly stopped: boolean;
  /** Its newest statistics, as `/api/stats` shows them. */
  readonly stats: JsonObject;
}

export function encodeReport(report: NodeReport): string {
  return JSON.stringify(report);
}

/** Reads a report; `null` if it is none. Servers of other versions may send more fields. */
export function decodeReport(body: Buffer): NodeReport | null {
  if (body.length > MAX_BYTES) return null;
  const fields = parseObject(body);
  if (fields === null) return null;
  const incarnation = text(fields.incarnation);
  const seq = number(fields.seq);
  if (!/^[0-9A-Za-z]{1,32}$/.test(incarnation) || seq < 1) return null;
  const rates = isObject(fields.rates) ? fields.rates : {};
  return {
    incarnation,
    previous: texts(fields.previous),
    name: text(fields.name),
    seq,
    stopped: fields.stopped === true,
    stats: isObject(fields.stats) ? fields.stats : {},
    version: text(fields.version),
    address: text(fields.address),
    nodeUrl: typeof fields.nodeUrl === "string" ? text(fields.nodeUrl) : null,
    uptime: number(fields.uptime),
    connections: number(fields.connections),
    channels: number(fields.channels),
    rates: {
      received: number(rates.received),
      delivered: number(rates.delivered),
      pushed: number(rates.pushed),
    },
    cpu: number(fields.cpu),
    memory: number(fields.memory),
    loopDelay: number(fields.loopDelay),
    gaps: number(fields.gaps),
    draining: fields.draining === true,
    position: typeof fields.position === "string" ? fields.position.slice(0, MAX_TEXT) : null,
  };
}

function parseObject(body: Buffer): JsonObject | null {
  try {
    const value: unknown = JSON.parse(body.toString());
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** A number that is not negative; 0 for anything else. */
function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}

function text(value: unknown): string {
  return typeof value === "string" ? value.slice(0, MAX_TEXT).toWellFormed() : "";
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.slice(0, MAX_ENTRIES).map(text) : [];
}
