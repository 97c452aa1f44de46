import type { Socket, TCPSocketListener } from "bun";
import type { Log } from "../log.ts";
import { BusError } from "./bus-error.ts";
import { type RespContext, runCommand } from "./resp-commands.ts";
import { RespConnection } from "./resp-connection.ts";
import type { Subscriptions } from "./subscriptions.ts";

export interface RespOptions {
  readonly host: "127.0.0.1" | "::1";
  /** 0 picks one. */
  readonly port: number;
  /** Bytes of one string of a request. */
  readonly maxPayload: number;
  /** Bytes that may wait for all clients together; beyond them the one with the most is cut off. */
  readonly maxBuffered: number;
  readonly password: string | null;
  readonly log: Log;
}

/** The Redis protocol on a loopback port, before a set of subscriptions (bridge.md, "Without a Redis"). */
export interface RespListener {
  readonly port: number;
  /** Sends what waits, as far as sockets take it: after a publish that came from this process. */
  flush(): void;
  /** Ends all connections and frees the port. */
  stop(): void;
}

/** Connections at a time. It is for one machine and for trying things. */
const MAX_CONNECTIONS = 1000;
/** How long a client that is being closed may take to read its last reply, in seconds. */
const FAREWELL_S = 5;

/** @throws BusError (`port-taken`) */
export function listenResp(subscriptions: Subscriptions, options: RespOptions): RespListener {
  const { log } = options;
  const connections = new Set<RespConnection>();
  /** Those for which more waits than at the last flush. */
  const dirty = new Set<RespConnection>();
  let nextId = 1;

  const listener = listen(options, {
    open(socket) {
      const connection = new RespConnection({
        id: nextId++,
        socket,
        maxBulk: options.maxPayload,
        authenticated: options.password === null,
        subscriptions,
        dirty: (one) => dirty.add(one),
      });
      socket.data = connection;
      if (connections.size >= MAX_CONNECTIONS) {
        close(socket, "-ERR max number of clients reached\r\n");
        flush();
        return;
      }
      connections.add(connection);
    },
    data(socket, chunk) {
      const connection = socket.data;
      if (connection.closing) return;
      const fault = connection.reader.read(chunk, (strings) => {
        runCommand(connection, strings, context);
        return !connection.closing;
      });
      if (fault !== null) {
        log.debug("closed a connection to the embedded bus", {
          reason: fault.reply?.trim() ?? "not the Redis protocol",
        });
        close(socket, fault.reply);
      } else if (connection.closing) {
        close(socket, null);
      }
      flush();
    },
    drain(socket) {
      socket.data.drained();
    },
    timeout(socket) {
      socket.data.terminate();
    },
    close(socket) {
      connections.delete(socket.data);
      dirty.delete(socket.data);
      socket.data.forget();
    },
    error(_socket, error) {
      log.debug("a connection to the embedded bus failed", { reason: error.message });
    },
  });

  const context: RespContext = {
    subscriptions,
    password: options.password,
    port: listener.port,
    connections: () => connections.size,
    startedAt: Date.now(),
  };

  function close(socket: Socket<RespConnection>, last: string | null): void {
    const connection = socket.data;
    if (last !== null) connection.send(last);
    connection.closing = true;
    connection.unsubscribeAll();
    socket.timeout(FAREWELL_S);
    dirty.add(connection);
  }

  function flush(): void {
    if (dirty.size === 0) return;
    for (const connection of dirty) connection.flush();
    dirty.clear();
    let waiting = 0;
    for (const connection of connections) waiting += connection.waiting;
    while (waiting > options.maxBuffered) {
      let slowest: RespConnection | null = null;
      for (const connection of connections) {
        if (slowest === null || connection.waiting > slowest.waiting) slowest = connection;
      }
      if (slowest === null) return;
      log.warn("cut off a subscriber of the embedded bus that does not read", {
        client: slowest.id,
        name: slowest.name,
        waiting: slowest.waiting,
      });
      waiting -= slowest.waiting;
      connections.delete(slowest);
      slowest.terminate();
    }
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
        `The embedded bus cannot listen on ${where}: something else does. Choose another by redis_url, or use that one with bus = "redis".`,
      );
    }
    throw new BusError(
      "port-taken",
      `The embedded bus cannot listen on ${where}: ${code ?? "it was refused"}.`,
    );
  }
}
