/** The events that a webhook can be sent. */
export const WEBHOOK_EVENTS = [
  "channel_occupied",
  "channel_vacated",
  "member_added",
  "member_removed",
  "gap",
] as const;

export type WebhookEventName = (typeof WEBHOOK_EVENTS)[number];
