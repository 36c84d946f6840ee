/** @file All shapes of a model for one batch size. */

import { ReparamError } from "../core/errors.ts";
import type { Shape } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import { inferShapes } from "../ir/infer-shapes.ts";

/** Shapes of all values for one batch size. Throws `usage` when the input's shape is not known. */
export async function inferStaticShapes(
  model: Model,
  batch: number,
  sampleShape: Shape | undefined,
): Promise<{ input: string; shapes: Map<string, Shape> }> {
  const inputs = graphInputs(model.graph);
  const [first] = inputs;
  if (!first || inputs.length > 1) {
    throw new ReparamError("refused", {
      where: "training",
      what: `the model has ${inputs.length} inputs, expected one`,
    });
  }
  const declared = sampleShape ?? first.shape?.slice(1);
  if (!declared?.every((dim) => typeof dim === "number")) {
    throw new ReparamError("usage", {
      where: `input ${first.name}`,
      what: `its shape is [${(first.shape ?? ["?"]).map((dim) => dim ?? "?").join(", ")}], expected known sizes behind the batch`,
      fix: "Give the sample shape",
    });
  }
  const types = await inferShapes(model, new Map([[first.name, [batch, ...declared]]]));
  const shapes = new Map<string, Shape>();
  for (const [name, { shape }] of types) {
    if (shape?.every((dim) => typeof dim === "number")) shapes.set(name, shape as Shape);
  }
  return { input: first.name, shapes };
}
