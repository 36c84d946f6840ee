/** @file In what the families differ that a checkpoint's keys fit alike: what a person needs to choose one. */

import type { BoundStone } from "./bind-stone.ts";
import type { FamilyFit } from "./find-blocks.ts";

/** `YOLOv6 RepVGGBlock (epsilon 1e-3)`, one per family, with what is not the same in all of them. */
export function describeChoice(fits: readonly FamilyFit[]): string[] {
  const differ = (of: (fit: FamilyFit) => string | undefined): boolean =>
    new Set(fits.map(of)).size > 1;
  const epsilon = ({ family }: FamilyFit): string => family.epsilon.toExponential();
  const fused = ({ matches }: FamilyFit): string | undefined => matches[0]?.deployKeys.weight;
  const terms = fits.map((fit) => termsOf(fit.matches[0]?.stone));
  return fits.map((fit, i) => {
    const own = [...terms[i]!].filter(([key]) => terms.some((other) => !other.has(key)));
    const facts = [
      ...(differ(epsilon) ? [`epsilon ${epsilon(fit)}`] : []),
      ...(differ(fused) ? [`fused weight ${fused(fit)}`] : []),
      ...(own.length > 0 ? [`also adds ${own.map(([, name]) => name).join(" and ")}`] : []),
    ];
    return facts.length > 0 ? `${fit.family.title} (${facts.join(", ")})` : fit.family.title;
  });
}

/** What the block adds up, by its meaning. Blocks that are no sum have no terms. */
function termsOf(stone: BoundStone | undefined): Map<string, string> {
  if (stone?.op !== "sum") return new Map();
  return new Map(stone.parts.map((part) => [JSON.stringify(part), nameOf(part)]));
}

function nameOf(stone: BoundStone): string {
  switch (stone.op) {
    case "same-channels":
      return nameOf(stone.part);
    case "identity":
      return "the input itself";
    case "average":
      return "an average pool of the input";
    case "conv":
    case "bn":
      return stone.path;
    default: {
      const [first] = "parts" in stone ? stone.parts : [];
      return first ? nameOf(first) : `a ${stone.op}`;
    }
  }
}
