/** Bun's server, as what publishes frames to a topic. Returns bytes sent, -1 if a subscriber has a backlog, 0 if a frame was dropped. */
export interface Publisher {
  publish(topic: string, frame: string | Buffer): number;
}
