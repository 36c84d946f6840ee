/**
 * @file Both networks against outputs that the user recorded elsewhere (PyTorch, a device): which of the two, if any,
 * made them. The truth is the float64 run of the file, so a recorded output is judged by how far it is from that.
 */

import { knownGraph } from "../convert/deploy-graph.ts";
import type { ModelFile } from "../convert/open.ts";
import { decodeFloat64 } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { formatShape, type Tensor } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import { createReference, type ReferenceValue } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { type OutputMetrics, outputMetrics } from "./metrics.ts";

/** The recorded output against the float64 run of each form. */
export interface GoldenComparison {
  /** The output it was compared with: the first whose shape is the recorded one's. */
  readonly output: string;
  /** Recorded against the training form. */
  readonly training: OutputMetrics;
  /** Recorded against the deploy form. */
  readonly deploy: OutputMetrics;
}

/**
 * Runs both forms in float64 on `input` (for the first graph input) and compares with `expected`.
 *
 * @throws refused when the net of a file is not known; usage when no output has the shape of `expected`
 */
export async function compareGolden(
  trainingFile: ModelFile,
  deployFile: ModelFile,
  golden: { readonly input: Tensor; readonly expected: Tensor },
  runtime: Runtime,
  options: TaskOptions = {},
): Promise<GoldenComparison> {
  const training = await runReference(trainingFile, golden.input, runtime, options);
  const deploy = await runReference(deployFile, golden.input, runtime, options);
  const wanted = formatShape(golden.expected.shape);
  const at = training.findIndex(({ value }) => formatShape(value.shape) === wanted);
  if (at < 0) {
    const shapes = training.map(({ name, value }) => `${name} ${formatShape(value.shape)}`);
    throw new ReparamError("usage", {
      where: "golden output",
      what: `its shape is ${wanted}, the model's outputs are ${shapes.join(", ")}`,
    });
  }
  const values = decodeFloat64(golden.expected.bytes, golden.expected.dtype);
  const truth = training[at]!;
  return {
    output: truth.name,
    training: outputMetrics(truth.value.data, values),
    deploy: outputMetrics((deploy[at] ?? truth).value.data, values),
  };
}

async function runReference(
  file: ModelFile,
  input: Tensor,
  runtime: Runtime,
  options: TaskOptions,
): Promise<{ name: string; value: ReferenceValue }[]> {
  const model = graphOf(file);
  const first = graphInputs(model.graph)[0];
  if (!first) throw new ReparamError("refused", { where: file.name, what: "it has no input" });
  const reference = await createReference(model, runtime, new Map([[first.name, input.shape]]));
  try {
    const values = await reference.run(new Map([[first.name, input]]), undefined, options);
    return model.graph.outputs.map(({ name }) => ({ name, value: values.get(name)! }));
  } finally {
    await reference.release();
  }
}

function graphOf(file: ModelFile): Model {
  const model = file.kind === "onnx" ? file.model : knownGraph(file, undefined);
  if (model) return model;
  throw new ReparamError("refused", {
    where: file.name,
    what: "the network around its blocks is not known, so it cannot be run",
    fix: "Give ONNX files, or leave --golden out",
  });
}
