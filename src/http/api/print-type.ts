import { isObject, type JsonObject } from "../../auth/json-object.ts";

/** Prints JSON Schemas, as zod writes them, as types of TypeScript. Schemas with a title become types of that name. */
export class TypePrinter {
  /** The named types, by name: `Api` and the title. */
  readonly named = new Map<string, string>();

  /** @param depth of the indentation */
  print(schema: unknown, depth = 0): string {
    if (!isObject(schema)) return "unknown";
    const { title } = schema;
    if (typeof title !== "string") return this.#print(schema, depth);
    const name = `Api${title}`;
    if (!this.named.has(name)) this.named.set(name, this.#print(schema, 0));
    return name;
  }

  #print(schema: JsonObject, depth: number): string {
    if ("const" in schema) return JSON.stringify(schema.const);
    if (Array.isArray(schema.enum)) return union(schema.enum.map((value) => JSON.stringify(value)));
    const any = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(any)) return union(any.map((each) => this.print(each, depth)));
    if (Array.isArray(schema.type)) {
      return union(schema.type.map((type) => this.#print({ ...schema, type }, depth)));
    }
    switch (schema.type) {
      case "string":
      case "boolean":
      case "null":
        return schema.type;
      case "number":
      case "integer":
        return "number";
      case "array":
        return `ReadonlyArray<${this.print(schema.items, depth)}>`;
      case "object":
        return this.#printObject(schema, depth);
      default:
        return "unknown";
    }
  }

  #printObject({ properties, required, additionalProperties }: JsonObject, depth: number): string {
    if (!isObject(properties)) return `Readonly<Record<string, ${this.print(additionalProperties, depth)}>>`;
    const names = Array.isArray(required) ? required : [];
    const indent = "  ".repeat(depth + 1);
    const lines = Object.entries(properties).flatMap(([name, inner]) => {
      const type = this.print(inner, depth + 1);
      const field = names.includes(name) ? `${name}: ${type}` : `${name}?: ${orUndefined(type)}`;
      return [...docOf(inner, indent), `${indent}readonly ${field};`];
    });
    return lines.length === 0
      ? "Readonly<Record<string, never>>"
      : `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
  }
}

function docOf(schema: unknown, indent: string): string[] {
  const doc = isObject(schema) ? schema.description : undefined;
  return typeof doc === "string" ? [`${indent}/** ${doc.replaceAll("*/", "*\\/")} */`] : [];
}

/** A field that is left out may be given as `undefined` too: JSON has neither. */
function orUndefined(type: string): string {
  return type === "unknown" ? type : `${type} | undefined`;
}

function union(types: readonly string[]): string {
  return [...new Set(types)].join(" | ");
}
