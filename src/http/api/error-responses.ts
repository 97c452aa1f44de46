import type { Rejection } from "../../auth/rejection.ts";

/** The OpenAPI responses of rejections, by status: the codes of each, with an example. */
export function errorResponses(rejections: readonly Rejection[]): Record<number, object> {
  const byStatus = new Map<number, Map<string, Rejection>>();
  for (const rejection of rejections) {
    const codes = byStatus.get(rejection.status) ?? new Map<string, Rejection>();
    // The first of a code is its example.
    if (!codes.has(rejection.code)) codes.set(rejection.code, rejection);
    byStatus.set(rejection.status, codes);
  }
  return Object.fromEntries([...byStatus].map(([status, codes]) => [status, describe([...codes.values()])]));
}

function describe(rejections: readonly Rejection[]): object {
  return {
    description: rejections.map(({ code, reason }) => `- \`${code}\`: ${reason}`).join("\n"),
    content: {
      "application/json": {
        schema: {
          type: "object",
          properties: {
            error: { type: "string" },
            code: { type: "string", enum: rejections.map(({ code }) => code) },
          },
          required: ["error", "code"],
        },
        examples: Object.fromEntries(
          rejections.map(({ code, reason }) => [code, { value: { error: reason, code } }]),
        ),
      },
    },
  };
}
