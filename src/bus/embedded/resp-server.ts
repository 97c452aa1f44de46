import type { Socket, TCPSocketListener } from "bun";
import type { Log } from "../../log.ts";
import { openFileLimit } from "../../process/open-files.ts";
import { BusError } from "../bus-error.ts";
import { error as errorReply } from "../resp.ts";
import type { Lists } from "./lists.ts";
import type { RespContext } from "./resp-command.ts";
import { runCommand } from "./resp-commands.ts";
import { type Budget, RespConnection } from "./resp-connection.ts";
import type { Subscriptions } from "./subscriptions.ts";

export interface RespOptions {
  readonly host: "127.0.0.1" | "::1";
  /** 0 picks one. */
  readonly port: number;
  /** Largest string of a request, in bytes. */
  readonly maxPayload: number;
  /** Bytes that may wait for all clients together; beyond them the slowest client is disconnected. */
  readonly maxBuffered: number;
  readonly password: string | null;
  readonly log: Log;
}

/** A server of the Redis protocol on a loopback port. */
export interface RespListener {
  readonly port: number;
  /** Sends waiting output, as far as sockets accept it; to be called after a publish of this process. */
  flush(): void;
  /** Ends all connections and closes the port. */
  stop(): void;
}

/** Most connections, and their share of the limit on open files. */
const MAX_CONNECTIONS = 1000;
const MAX_SHARE = 1 / 4;
/** Memory of the incomplete requests of all connections, in bytes; two of the largest are always possible. */
const MAX_UNFINISHED = 16 * 1024 * 1024;
/** Time for the requests of one client before those of others, in ms. */
const SLICE_MS = 0.25;
/** Time for all clients with more requests, in each turn of the event loop, in ms. */
const TURN_MS = 1;
/** Bytes that may wait to be sent to a client before its next request is handled. */
const MAX_REPLIES = 1024 * 1024;
const NOTHING = Buffer.alloc(0);
/** Memory of requests behind one that waits for an item of a list, in bytes. */
const MAX_HELD = 1024 * 1024;
const TOO_MANY_HELD = errorReply("ERR too many requests behind one that waits");
/** Timeout for a client that is closed to read its last reply, in seconds. */
const CLOSE_TIMEOUT_S = 5;

/** @throws BusError (`port-taken`) */
export function listenResp(subscriptions: Subscriptions, lists: Lists, options: RespOptions): RespListener {
  const { log } = options;
  const connections = new Set<RespConnection>();
  /** Connections with new output since the last flush. */
  const dirty = new Set<RespConnection>();
  const budget: Budget = { waiting: 0, most: options.maxBuffered, exceeded: flush };
  /** Memory of the incomplete requests of all connections, in bytes. */
  let unfinished = 0;
  const mostUnfinished = Math.min(options.maxBuffered, Math.max(MAX_UNFINISHED, 2 * options.maxPayload));
  const mostConnections = Math.min(MAX_CONNECTIONS, openFileLimit() * MAX_SHARE);
  /** Clients with requests that wait for their next slice; their sockets are paused. */
  const busy = new Set<Socket<RespConnection>>();
  let scheduled = false;
  let flushing = false;
  let nextId = 1;

  const listener = listen(options, {
    open(socket) {
      const connection = new RespConnection({
        id: nextId++,
        socket,
        maxBulk: options.maxPayload,
        authenticated: options.password === null,
        subscriptions,
        budget,
        dirty: (one) => dirty.add(one),
        lists,
        unblocked: (one) => unblocked(socket, one),
      });
      socket.data = connection;
      if (connections.size >= mostConnections) {
        close(socket, errorReply("ERR max number of clients reached"));
        flush();
        // A client that does not close its side would keep a file descriptor.
        setImmediate(() => socket.terminate());
        return;
      }
      connections.add(connection);
    },
    data(socket, chunk) {
      if (socket.data.awaitsItem) hold(socket, chunk);
      else if (!socket.data.closing) handle(socket, chunk, performance.now() + SLICE_MS);
    },
    drain(socket) {
      socket.data.drained();
      if (socket.data.reader.paused) requeue(socket);
    },
    timeout(socket) {
      socket.data.timedOut();
    },
    close(socket) {
      busy.delete(socket);
      connections.delete(socket.data);
      dirty.delete(socket.data);
      unfinished -= socket.data.reader.held;
      socket.data.reader.clear();
      socket.data.forget();
    },
    error(_socket, error) {
      log.debug("a connection to the embedded bus failed", { reason: error.message });
    },
  });

  const context: RespContext = {
    subscriptions,
    lists,
    password: options.password,
  };

  /** Handles requests until `end` (by `performance.now()`), at least one. */
  function handle(socket: Socket<RespConnection>, chunk: Buffer, end: number): void {
    const connection = socket.data;
    const { reader } = connection;
    const wasPaused = reader.paused;
    unfinished -= reader.held;
    const fault = reader.read(chunk, (strings) => {
      runCommand(connection, strings, context);
      if (connection.closing || connection.awaitsItem) return false;
      return connection.waiting <= MAX_REPLIES && (performance.now() < end || isSubscription(strings));
    });
    unfinished += reader.held;
    if (unfinished > mostUnfinished) limitUnfinished();
    if (fault !== null) {
      log.debug("closed a connection to the embedded bus", {
        reason: fault.reply?.trim() ?? "not the Redis protocol",
      });
      close(socket, fault.reply);
    } else if (connection.closing) {
      close(socket, null);
    }
    flush();
    // A client that waits for an item is read on: otherwise its end would not be noticed.
    if (reader.paused && !connection.closing && !connection.awaitsItem) {
      if (!wasPaused) socket.pause();
      requeue(socket);
    } else if (wasPaused) socket.resume();
  }

  /** Keeps what a client sends while it waits for an item of a list. */
  function hold(socket: Socket<RespConnection>, chunk: Buffer): void {
    const { reader } = socket.data;
    unfinished -= reader.held;
    reader.hold(chunk);
    unfinished += reader.held;
    if (reader.held > MAX_HELD) {
      close(socket, TOO_MANY_HELD);
      flush();
    } else if (unfinished > mostUnfinished) limitUnfinished();
  }

  /** A client got its item, or none: requests behind it are handled in the next turn. */
  function unblocked(socket: Socket<RespConnection>, { reader }: RespConnection): void {
    if (reader.paused) {
      socket.pause();
      requeue(socket);
    }
    // At the end of this turn, together with what others get in it.
    if (!flushing) {
      flushing = true;
      setImmediate(() => {
        flushing = false;
        flush();
      });
    }
  }

  /** Gives a client its next slice; one with too many unread replies waits until it reads. */
  function requeue(socket: Socket<RespConnection>): void {
    if (socket.data.closing || socket.data.awaitsItem || socket.data.waiting > MAX_REPLIES) return;
    busy.add(socket);
    if (scheduled) return;
    scheduled = true;
    setImmediate(handleBusy);
  }

  function handleBusy(): void {
    scheduled = false;
    const end = performance.now() + TURN_MS;
    let now = end - TURN_MS;
    for (const socket of busy) {
      // One with more requests is added again at the end.
      busy.delete(socket);
      if (!socket.data.closing) handle(socket, NOTHING, Math.min(end, now + SLICE_MS));
      now = performance.now();
      if (now >= end) break;
    }
    if (busy.size > 0 && !scheduled) {
      scheduled = true;
      setImmediate(handleBusy);
    }
  }

  function close(socket: Socket<RespConnection>, last: string | null): void {
    const connection = socket.data;
    if (last !== null) connection.send(last);
    connection.close();
    socket.timeout(CLOSE_TIMEOUT_S);
    dirty.add(connection);
  }

  function flush(): void {
    if (dirty.size === 0) return;
    for (const connection of dirty) connection.flush();
    dirty.clear();
    while (budget.waiting > budget.most) {
      const slowest = largest(({ waiting }) => waiting);
      if (slowest === null) return;
      log.warn("disconnected a slow subscriber of the embedded bus", {
        client: slowest.id,
        name: slowest.name,
        waiting: slowest.waiting,
      });
      connections.delete(slowest);
      slowest.terminate();
    }
  }

  /** Disconnects clients with incomplete requests, the largest first, until the rest is within the limit. */
  function limitUnfinished(): void {
    while (unfinished > mostUnfinished) {
      const largestOne = largest(({ reader }) => reader.held);
      if (largestOne === null) return;
      log.warn("disconnected a client of the embedded bus, its incomplete requests use too much memory", {
        client: largestOne.id,
        name: largestOne.name,
        waiting: largestOne.reader.held,
      });
      connections.delete(largestOne);
      unfinished -= largestOne.reader.held;
      largestOne.reader.clear();
      largestOne.terminate();
    }
  }

  function largest(size: (connection: RespConnection) => number): RespConnection | null {
    let found: RespConnection | null = null;
    for (const connection of connections) {
      if (found === null || size(connection) > size(found)) found = connection;
    }
    return found;
  }

  return {
    port: listener.port,
    flush,
    stop: () => {
      flush();
      listener.stop(true);
    },
  };
}

/** After a subscription, the next request of the same write is handled before those of other clients, as in Redis: so a greeting comes first. */
function isSubscription([command]: readonly Buffer[]): boolean {
  return command !== undefined && /^p?subscribe$/i.test(command.toString("latin1"));
}

function listen(
  { host, port }: RespOptions,
  socket: Bun.SocketHandler<RespConnection>,
): TCPSocketListener<RespConnection> {
  try {
    return Bun.listen<RespConnection>({ hostname: host, port, socket });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    const where = `port ${port} of ${host}`;
    if (code === "EADDRINUSE") {
      throw new BusError(
        "port-taken",
        `The embedded bus cannot listen on ${where}: the port is in use. Choose another with redis_url, or use the server on it with bus = "redis".`,
      );
    }
    throw new BusError(
      "port-taken",
      `The embedded bus cannot listen on ${where}: ${code ?? "not permitted"}.`,
    );
  }
}
