import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

/** Signs Channelstream calls for the API explorer: the secret itself never leaves the server. */
export function channelstreamOperations({ channelstream }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/channelstream/signature",
      tag: "Tokens",
      summary: "Sign a Channelstream call",
      description: "Returns a value for the header `x-channelstream-secret`, valid for one minute.",
      needs: "admin",
      act: "sign",
      answer: z.object({ signature: z.string() }),
      errors: { 404: "Channelstream is disabled" },
      run() {
        if (channelstream === null)
          return new Rejection(404, "channelstream_off", "Channelstream is disabled (channelstream.secret).");
        return { signature: channelstream.sign() };
      },
    }),
  ];
}
