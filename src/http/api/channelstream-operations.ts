import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

/** Lets the explorer sign what a signed-in administrator calls: the secret itself never leaves the server. */
export function channelstreamOperations({ channelstream }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/channelstream/signature",
      tag: "Tokens",
      summary: "Sign a Channelstream call",
      description: "Gives a value for the header `x-channelstream-secret`, good for a minute.",
      needs: "admin",
      act: "sign",
      answer: z.object({ signature: z.string() }),
      refusals: { 404: "Channelstream's protocol is off" },
      run() {
        if (channelstream === null)
          return new Rejection(404, "channelstream_off", "Channelstream is disabled (channelstream.secret).");
        return { signature: channelstream.sign() };
      },
    }),
  ];
}
