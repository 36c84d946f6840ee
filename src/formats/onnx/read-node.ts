/** @file NodeProto and AttributeProto → `Node`. An attribute we have no form for keeps the file's own bytes. */

import { badData, isReparamError } from "../../core/errors.ts";
import type { Attribute, Graph, Node } from "../../ir/graph.ts";
import {
  assertCount,
  assertPayload,
  type Field,
  float,
  integer,
  smallInteger,
} from "./message-reader.ts";
import { type OnnxTensor, readTensorMessage, type TensorContext } from "./read-tensor.ts";
import { ATTRIBUTE, ATTRIBUTE_TYPE_CODES, NODE } from "./schema.ts";

/** Reads the graph inside an attribute; passed in because graphs hold nodes and nodes hold graphs. */
export type SubgraphReader = (where: string, field: Field) => Promise<Graph>;

export async function readNode(
  context: TensorContext,
  fileWhere: string,
  field: Field,
  readSubgraph: SubgraphReader,
): Promise<Node> {
  const { reader } = context;
  assertPayload(fileWhere, field);
  const where = `${fileWhere}: node at byte ${field.tagStart}`;
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  const attributeFields: Field[] = [];
  const extra: Uint8Array[] = [];
  let [opType, domain, name, docString] = ["", "", "", ""];
  for (const part of await reader.fields(where, field.start, field.end)) {
    if (part.number === NODE.input) inputs.push(await reader.text(where, part));
    else if (part.number === NODE.output) outputs.push(await reader.text(where, part));
    else if (part.number === NODE.name) name = await reader.text(where, part);
    else if (part.number === NODE.opType) opType = await reader.text(where, part);
    else if (part.number === NODE.domain) domain = await reader.text(where, part);
    else if (part.number === NODE.docString) docString = await reader.text(where, part);
    else if (part.number === NODE.attribute) attributeFields.push(part);
    else extra.push(await reader.keep(where, part.tagStart, part.end));
  }
  if (opType === "") throw badData(where, "it has no operator");
  const label = `${fileWhere}: ${name || `${opType}(${outputs[0] ?? ""})`}`;
  for (const [what, list] of Object.entries({ inputs, outputs, attributes: attributeFields })) {
    assertCount(label, what, list.length, reader.limits.perNode);
  }
  for (const part of attributeFields) {
    const [key, attribute] = await readAttribute(context, label, part, readSubgraph);
    if (attributes.has(key)) throw badData(label, `attribute ${key} is given twice`);
    attributes.set(key, attribute);
  }
  return {
    opType,
    domain: domain === "ai.onnx" ? "" : domain,
    name,
    inputs,
    outputs,
    attributes,
    ...(docString !== "" && { docString }),
    ...(extra.length > 0 && { extra }),
  };
}

type InterpretedType = Exclude<Attribute["type"], "raw">;

/** The field that holds the value of each attribute type. */
const VALUE_FIELDS: Readonly<Record<InterpretedType, number>> = {
  float: ATTRIBUTE.f,
  int: ATTRIBUTE.i,
  string: ATTRIBUTE.s,
  tensor: ATTRIBUTE.t,
  graph: ATTRIBUTE.g,
  floats: ATTRIBUTE.floats,
  ints: ATTRIBUTE.ints,
  strings: ATTRIBUTE.strings,
};
const INTERPRETED_TYPES = Object.keys(ATTRIBUTE_TYPE_CODES) as InterpretedType[];

async function readAttribute(
  context: TensorContext,
  nodeWhere: string,
  field: Field,
  readSubgraph: SubgraphReader,
): Promise<[name: string, attribute: Attribute]> {
  const { reader } = context;
  assertPayload(nodeWhere, field);
  const parts = await reader.fields(nodeWhere, field.start, field.end);
  let name = "";
  let code = 0;
  for (const part of parts) {
    if (part.number === ATTRIBUTE.name) name = await reader.text(nodeWhere, part);
    else if (part.number === ATTRIBUTE.type) code = smallInteger(nodeWhere, part);
  }
  if (name === "") throw badData(nodeWhere, `attribute at byte ${field.tagStart} has no name`);
  const where = `${nodeWhere}: attribute ${name}`;
  const type = INTERPRETED_TYPES.find((candidate) =>
    code === 0
      ? parts.some((part) => part.number === VALUE_FIELDS[candidate])
      : ATTRIBUTE_TYPE_CODES[candidate] === code,
  );
  const attribute = type && (await readValue(context, where, type, parts, readSubgraph));
  if (attribute) {
    const doc = parts.findLast((part) => part.number === ATTRIBUTE.docString);
    const docString = doc ? await reader.text(where, doc) : "";
    return [name, docString === "" ? attribute : { ...attribute, docString }];
  }
  return [name, { type: "raw", value: await reader.keep(where, field.start, field.end) }];
}

/** The attribute's value; undefined where it has fields or values that our form would lose. */
async function readValue(
  context: TensorContext,
  where: string,
  type: InterpretedType,
  parts: readonly Field[],
  readSubgraph: SubgraphReader,
): Promise<Attribute | undefined> {
  const { reader } = context;
  const known: readonly number[] = [ATTRIBUTE.name, ATTRIBUTE.type, VALUE_FIELDS[type]];
  const lost = (part: Field): boolean =>
    !known.includes(part.number) && part.number !== ATTRIBUTE.docString && !isUnset(part);
  if (parts.some(lost)) return undefined;
  const values = parts.filter((part) => part.number === VALUE_FIELDS[type]);
  const last = values.at(-1);
  switch (type) {
    case "float":
      return { type, value: last ? float(where, last) : 0 };
    case "int": {
      const value = last ? integer(where, last) : 0;
      return typeof value === "number" ? { type, value } : undefined;
    }
    case "string": {
      const value = last ? await textOrUndefined(context, where, last) : "";
      return value === undefined ? undefined : { type, value };
    }
    case "tensor": {
      if (!last) throw badData(where, "it has no tensor");
      assertPayload(where, last);
      const { name, tensor } = await readTensorMessage(context, where, last.start, last.end);
      const value: OnnxTensor | undefined = tensor && { ...tensor, wireName: name };
      return value && { type, value };
    }
    case "graph":
      if (!last) throw badData(where, "it has no graph");
      return { type, value: await readSubgraph(where, last) };
    case "floats": {
      const value: number[] = [];
      for (const part of values) {
        for (const item of await reader.floats(where, part)) value.push(item);
      }
      return { type, value };
    }
    case "ints": {
      const value: number[] = [];
      for (const part of values) {
        for (const item of await reader.ints(where, part)) {
          if (typeof item !== "number") return undefined;
          value.push(item);
        }
      }
      return { type, value };
    }
    case "strings": {
      const value: string[] = [];
      for (const part of values) {
        const item = await textOrUndefined(context, where, part);
        if (item === undefined) return undefined;
        value.push(item);
      }
      return { type, value };
    }
  }
}

/** Some exporters write every field of an attribute, zero where it does not apply. */
function isUnset(part: Field): boolean {
  return part.value === 0 || part.start === part.end;
}

async function textOrUndefined(
  context: TensorContext,
  where: string,
  field: Field,
): Promise<string | undefined> {
  try {
    return await context.reader.text(where, field);
  } catch (error) {
    // Attribute strings are bytes; those that are no text are kept as bytes.
    if (isReparamError(error, "bad-data") && error.what.endsWith("not UTF-8")) return undefined;
    throw error;
  }
}
