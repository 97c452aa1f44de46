import * as z from "zod";
import { isObject, type JsonObject } from "../../auth/json-object.ts";

const DIALECT = { target: "draft-2020-12", unrepresentable: "any" } as const;

/** The begin of the names that zod gives schemas without an id. */
const UNNAMED = "__";

/** The JSON Schema of a schema, without references. A schema with an id has it as its title. */
export function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonObject {
  const { $schema: _, ...plain } = z.toJSONSchema(schema, { ...DIALECT, io, reused: "inline" });
  return inlined(plain);
}

/** Replaces references to named schemas by the schemas: each schema of the document is generated separately. */
function inlined(root: JsonObject): JsonObject {
  const { $defs, ...rest } = root;
  const definitions = isObject($defs) ? $defs : {};
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    if (!isObject(value)) return value;
    const { $ref } = value;
    if (typeof $ref === "string" && $ref.startsWith("#/$defs/")) {
      const name = $ref.slice("#/$defs/".length);
      const found = definitions[name];
      // A recursive schema (any JSON) becomes {}.
      if (!isObject(found) || JSON.stringify(found).includes($ref)) return {};
      return replace(name.startsWith(UNNAMED) ? found : { title: name, ...found });
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, replace(inner)]));
  };
  const made = replace(rest);
  return isObject(made) ? made : {};
}
