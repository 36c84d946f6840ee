/**
 * @file When two regions are the same computation with the same parameters (a block applied to several feature
 * maps), they share one fused kernel.
 */

import { internalError } from "../core/errors.ts";
import type { Attribute } from "../ir/graph.ts";
import type { Region } from "./plan-types.ts";

/** Equal for regions that compute the same function of their input from the same constants. */
export function regionSignature(region: Region): string {
  const numbers = new Map<string, string>([[region.input, "input"]]);
  const lines = region.nodes.map((node) => {
    const inputs = node.inputs.map((input) => numbers.get(input) ?? JSON.stringify(input));
    for (const output of node.outputs) {
      if (output !== "") numbers.set(output, `#${numbers.size}`);
    }
    const attributes = [...node.attributes]
      .map(([name, attribute]) => `${name}=${attributeText(attribute)}`)
      .sort();
    return [node.domain, node.opType, inputs.join(), attributes.join()].join(" ");
  });
  return lines.join("\n");
}

const identities = new WeakMap<object, number>();
let nextIdentity = 0;

/** Plain values by content, tensors and graphs by identity. */
function attributeText(attribute: Attribute): string {
  const { value } = attribute;
  if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  if (value === null) throw internalError("regionSignature", "an attribute without a value");
  let identity = identities.get(value);
  if (identity === undefined) {
    identity = nextIdentity++;
    identities.set(value, identity);
  }
  return `object ${identity}`;
}
