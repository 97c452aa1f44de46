import { type Soak, SPARE_DESCRIPTORS } from "./run.ts";
import { labelled, median, type Sample, total } from "./samples.ts";

export interface Check {
  readonly name: string;
  readonly holds: boolean;
  /** The figures. */
  readonly shows: string;
}

/** Allowed growth of resident memory from the second quarter of the run to the last: a tenth plus 16 MB. */
const GROWTH = 1.1;
const SLACK = 16 * 1024 * 1024;

/** Part of the deliveries that may go to clients that are gone: a session without polls ends after 15 s. */
const UNRECEIVED = 0.05;

/** Compares the server's counters with what was sent and received. */
export function judge(soak: Soak): Check[] {
  const { ledger, last, settled, samples, first } = soak;
  const checks: Check[] = [];
  const check = (name: string, holds: boolean, shows: string): void =>
    void checks.push({ name, holds, shows });
  const equal = (name: string, a: number, b: number): void => check(name, a === b, `${a} and ${b}`);
  const { metrics } = last;
  const dropped = (reason: string): number => labelled(metrics, "channel_bus_messages_dropped_total", reason);

  const received = total(metrics, "channel_bus_messages_received_total");
  const delivered = total(metrics, "channel_bus_messages_delivered_total");
  const drops = total(metrics, "channel_bus_messages_dropped_total");
  equal("received = delivered + dropped by reason", received, delivered + drops);
  equal("messages delivered = messages that the observer received", delivered, ledger.observed.size);

  const room = [...ledger.published.entries()];
  const sentToServer = room.filter(([, { receivers }]) => receivers === 1);
  const lost = ledger.lost();
  check("no message that Redis gave us was lost, outages apart", lost.length === 0, `${lost.length} lost`);
  const inOutage = sentToServer.filter(([key]) => !ledger.observed.has(key)).length;
  const unanswered = room.filter(
    ([key, { receivers }]) => receivers === null && ledger.observed.has(key),
  ).length;
  const withoutSubscriber = room.filter(([, { receivers }]) => receivers === 0).length;
  const unknown = room.filter(
    ([key, { receivers }]) => receivers === null && !ledger.observed.has(key),
  ).length;
  equal("published = delivered + known gap", room.length, delivered + inOutage + withoutSubscriber + unknown);
  check(
    "the gap is that of the outages",
    room.filter(([key]) => !ledger.observed.has(key)).every(([, { at }]) => ledger.near(at)),
    `${inOutage} on their way when it began, ${withoutSubscriber} while the server was not subscribed, ${unknown} without a Redis, ${unanswered} delivered unanswered`,
  );
  for (const [reason, { sent, received: given }] of Object.entries(ledger.odd)) {
    const counted = dropped(reason);
    check(
      `messages without a recipient are counted: ${reason}`,
      counted <= sent && counted >= given - ledger.outages.length * 2,
      `${counted} counted, ${sent} sent, ${given} given to the server`,
    );
  }
  equal("every outage is counted as a gap", total(metrics, "channel_bus_gaps_total"), ledger.outages.length);

  const { pushes } = ledger;
  const pushed = total(metrics, "channel_pushes_total");
  const unavailable = labelled(metrics, "channel_refused_total", "backend_unavailable");
  equal("every push was answered", pushes.unanswered + pushes.other, 0);
  equal("pushes = pushes sent", pushed, pushes.sent);
  equal("pushes refused = refusals received", unavailable, pushes.refused);
  equal("pushes = accepted + refused", pushed, pushes.ok + pushes.refused);
  const untrue = [...ledger.accepted].filter(([mark, at]) => !ledger.backend.has(mark) && !ledger.near(at));
  check("a push answered ok was received by backends", untrue.length === 0, `${untrue.length} were not`);
  // Redis accepted it and was lost or stopped before its reply: the server cannot know. Only during an outage.
  const twisted = [...ledger.refusedMarks].flatMap((mark) => ledger.backend.get(mark) ?? []);
  check(
    "a push refused was not received, except during an outage",
    twisted.every((at) => ledger.near(at)),
    `${twisted.length} were received`,
  );

  const joins = total(metrics, "channel_joins_total");
  equal("joins = joins answered ok", joins, ledger.joins.ok);
  equal("joins = leaves, at the end", joins, total(metrics, "channel_leaves_total"));
  const opened = total(metrics, "channel_connections_opened_total");
  equal("connections opened = clients", opened, ledger.clients.opened);
  equal(
    "connections opened = closed, at the end",
    opened,
    total(metrics, "channel_connections_closed_total"),
  );
  equal("channels at the end are the permanent ones", total(metrics, "channel_channels"), 3);
  const deliveries = total(settled, "channel_deliveries_total");
  const missing = deliveries - soak.received;
  check(
    "deliveries = broadcasts received, except those to disconnected clients",
    missing >= 0 && missing <= deliveries * UNRECEIVED,
    `${deliveries} delivered, ${missing} of them not received`,
  );

  checks.push(flatMemory(samples), flatDescriptors(samples, first, last));
  check("the server ended with 0", soak.exitCode === 0, String(soak.exitCode));
  check(
    "no client saw anything that it should not",
    ledger.faults.length === 0,
    ledger.faults.slice(0, 5).join("; "),
  );
  return checks;
}

function flatMemory(samples: readonly Sample[]): Check {
  const quarter = Math.floor(samples.length / 4);
  const middle = median(samples.slice(quarter, 2 * quarter).map(({ rss }) => rss));
  const end = median(samples.slice(-quarter).map(({ rss }) => rss));
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return {
    name: "memory is flat",
    holds: end <= middle * GROWTH + SLACK,
    shows: `median ${mb(middle)} in the second quarter, ${mb(end)} in the last`,
  };
}

function flatDescriptors(samples: readonly Sample[], first: Sample, last: Sample): Check {
  const most = Math.max(...samples.map(({ descriptors }) => descriptors));
  return {
    name: "descriptors are flat",
    holds: last.descriptors <= first.descriptors + SPARE_DESCRIPTORS,
    shows: `${first.descriptors} before the first client, at most ${most}, ${last.descriptors} after the last`,
  };
}
