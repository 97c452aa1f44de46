import { type Soak, SPARE_DESCRIPTORS } from "./run.ts";
import { labelled, median, type Sample, total } from "./samples.ts";

export interface Check {
  readonly name: string;
  readonly holds: boolean;
  /** The figures. */
  readonly shows: string;
}

/** How much resident memory may grow from the second quarter of the run to the last: a tenth, and 16 MB. */
const GROWTH = 1.1;
const SLACK = 16 * 1024 * 1024;

/** Part of the deliveries that may go to clients that are gone: a session that nobody polls any more lives on for 15 s. */
const UNHEARD = 0.05;

/** Holds what the server counted against what was sent and heard. */
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
  equal("messages delivered = messages that the observer heard", delivered, ledger.observed.size);

  const room = [...ledger.published.entries()];
  const given = room.filter(([, { heardBy }]) => heardBy === 1);
  const lost = ledger.lost();
  check("no message that Redis gave us was lost, outages apart", lost.length === 0, `${lost.length} lost`);
  const inOutage = given.filter(([key]) => !ledger.observed.has(key)).length;
  const unanswered = room.filter(([key, { heardBy }]) => heardBy === null && ledger.observed.has(key)).length;
  const deaf = room.filter(([, { heardBy }]) => heardBy === 0).length;
  const unknown = room.filter(([key, { heardBy }]) => heardBy === null && !ledger.observed.has(key)).length;
  equal("published = delivered + known gap", room.length, delivered + inOutage + deaf + unknown);
  check(
    "the gap is that of the outages",
    room.filter(([key]) => !ledger.observed.has(key)).every(([, { at }]) => ledger.near(at)),
    `${inOutage} on their way when it began, ${deaf} while deaf, ${unknown} without a Redis, ${unanswered} delivered unanswered`,
  );
  for (const [reason, { sent, taken }] of Object.entries(ledger.odd)) {
    const counted = dropped(reason);
    check(
      `those that nobody can hear are counted: ${reason}`,
      counted <= sent && counted >= taken - ledger.outages.length * 2,
      `${counted} counted, ${sent} sent, ${taken} given to the server`,
    );
  }
  equal("every outage is counted as a gap", total(metrics, "channel_bus_gaps_total"), ledger.outages.length);

  const { pushes } = ledger;
  const pushed = total(metrics, "channel_pushes_total");
  const unavailable = labelled(metrics, "channel_refused_total", "backend_unavailable");
  equal("every push was answered", pushes.unanswered + pushes.other, 0);
  equal("pushes = pushes sent", pushed, pushes.sent);
  equal("pushes refused = refusals heard", unavailable, pushes.refused);
  equal("pushes = taken + refused", pushed, pushes.ok + pushes.refused);
  const untrue = [...ledger.accepted].filter(([mark, at]) => !ledger.backend.has(mark) && !ledger.near(at));
  check("a push answered ok was heard by backends", untrue.length === 0, `${untrue.length} were not`);
  // Redis took it and was lost, or frozen for too long, before it said so: nobody can know. Never without an outage.
  const twisted = [...ledger.refusedMarks].flatMap((mark) => ledger.backend.get(mark) ?? []);
  check(
    "a push refused was not heard, but for those that an outage caught half-way",
    twisted.every((at) => ledger.near(at)),
    `${twisted.length} were caught`,
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
  const missing = deliveries - ledger.heard;
  check(
    "deliveries = broadcasts heard, but for those to clients that were gone",
    missing >= 0 && missing <= deliveries * UNHEARD,
    `${deliveries} delivered, ${missing} of them not heard`,
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
