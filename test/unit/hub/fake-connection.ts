import type { Connection } from "../../../src/hub/connection.ts";

/** A connection that records the calls of its methods. */
export class FakeConnection implements Connection {
  readonly id: string;
  readonly protocol = "fake";
  readonly address = "192.0.2.1";
  readonly openedAt = Date.now();
  lastSeen = performance.now();
  idleSince: number | null = null;
  users: readonly string[] = [];
  channels: readonly string[] = [];
  waiting = 0;
  wasCutOff = false;
  readonly done: string[] = [];

  constructor(id: string) {
    this.id = id;
  }

  listening(): null {
    return null;
  }

  reliesOn(): boolean {
    return false;
  }

  buffered(): number {
    return this.waiting;
  }

  checkBacklog(): void {
    this.done.push("checkBacklog");
  }

  ping(): void {
    this.done.push("ping");
  }

  draining(): void {}

  close(code: number): void {
    this.done.push(`close ${code}`);
  }

  finish(code: number, reason: string): void {
    this.done.push(`finish ${code} ${reason}`);
  }

  dismiss(code: number, reason: string): void {
    this.done.push(`dismiss ${code} ${reason}`);
  }

  cutOff(reason: string): void {
    // The backlog is freed at the end of the turn, as in a real one.
    this.done.push(`cutOff ${reason}`);
    this.wasCutOff = true;
  }
}
