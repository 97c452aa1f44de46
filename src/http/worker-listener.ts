import { rmSync } from "node:fs";
import type { Registry } from "prom-client";
import type { SocketHandler } from "../transports/websocket.ts";
import type { Listeners } from "./listeners.ts";
import { WORKER_METRICS } from "./metrics.ts";
import { type ServeOptions, serverOptions } from "./serve.ts";

/** What other workers send requests to: a unix socket. */
export interface WorkerListener {
  /** As `publish` of Bun's server. */
  publish(topic: string, frame: string | Buffer): number;
  subscriberCount(topic: string): number;
  stop(): Promise<void>;
}

export function listenForWorkers(
  path: string,
  registry: Registry,
  options: Omit<ServeOptions, "config" | "sharesPort">,
): WorkerListener {
  // Of an earlier process with this number.
  rmSync(path, { force: true });
  const common = serverOptions(options);
  const metrics = async () => Response.json(await registry.getMetricsAsJSON());
  const server = Bun.serve<SocketHandler>({
    ...common,
    unix: path,
    routes: { ...common.routes, [WORKER_METRICS]: metrics },
  });
  return {
    publish: (topic, frame) => server.publish(topic, frame),
    subscriberCount: (topic) => server.subscriberCount(topic),
    stop: () => server.stop(true),
  };
}

/** Publishes to the sockets of a port, and to those that other workers have passed on. */
export function publishToBoth(listeners: Listeners, inner: WorkerListener): Listeners["publish"] {
  return (topic, frame) => {
    const sent = listeners.publish(topic, frame);
    if (inner.subscriberCount(topic) === 0) return sent;
    const passed = inner.publish(topic, frame);
    // 0 means both dropped and no subscriber.
    return sent === 0 || passed === 0 ? passed : Math.min(sent, passed);
  };
}
