/** Where frames for a topic go: Bun's server. Its result: bytes, -1 when somebody is slow, 0 when something was dropped. */
export interface Publisher {
  publish(topic: string, frame: string | Buffer): number;
}
