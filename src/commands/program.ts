export const PROGRAM = "channel";
export const SUMMARY = "A real-time hub between Phoenix Channels clients and Redis publish/subscribe";
