/**
 * @file How far an output that somebody recorded may be from the float64 run of the right model on the right input,
 * when it was computed in float32 by other code.
 *
 *     ‖g − y64‖ ≤ √n · noise        n = the most terms that any output of a node sums up
 *
 * Whoever ran it made the same products of the same numbers and summed them in another order. A sum of n terms is
 * rounded once at best (fused, or accumulated in a wider format) and n times at worst, and n random roundings add up as
 * √n (Higham & Mary, *A new approach to probabilistic rounding error analysis*, 2019). So two correct programs differ in
 * their errors by no more than √n. The noise is what one of them makes here: the float32 run of onnxruntime, or where
 * that is lucky, the largest of a few float64 runs with every parameter and input moved by up to one rounding.
 */

import { decodeFloat64, UNIT_ROUNDOFF } from "../core/dtype.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, type Shape, type Tensor } from "../core/tensor.ts";
import { graphInputs, isOp, type Model } from "../ir/graph.ts";
import { inferShapes } from "../ir/infer-shapes.ts";
import { createReference, type Reference } from "../runtime/reference.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { outputMetrics } from "../verify/metrics.ts";

/**
 * Moved runs beside the float32 run. That a normal draw is a tenth of its size or less happens 8 times in 100; that all
 * four are, 4 times in 100,000.
 */
const MOVED_RUNS = 3;
const UNIT = UNIT_ROUNDOFF.float32;

export interface Output {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** A model that can be run both ways on inputs of one shape. */
export interface Runner {
  /** In float64. */
  outputs(input: Tensor): Promise<Output[]>;
  /** The distance that a recorded output may have from output `at`; `read` is applied to every run's numbers. */
  bound(input: Tensor, at: number, read: (output: Output) => Float64Array): Promise<Bound>;
  release(): Promise<void>;
}

export interface Bound {
  /** Relative to ‖y64‖, as the noise. */
  readonly limit: number;
  readonly noise: number;
  /** n */
  readonly terms: number;
}

/** Throws `refused` where the model has no float64 form. */
export async function createRunner(
  model: Model,
  runtime: Runtime,
  shape: Shape,
  options: TaskOptions,
): Promise<Runner> {
  const name = graphInputs(model.graph)[0]?.name ?? "";
  const feed = (input: Tensor): ReadonlyMap<string, Tensor> => new Map([[name, input]]);
  const reference: Reference = await createReference(model, runtime, new Map([[name, shape]]));
  const terms = await longestSum(model, new Map([[name, shape]]));
  let session: Session | undefined;
  const run = async (input: Tensor, seed?: number): Promise<Output[]> => {
    const perturbation = seed === undefined ? undefined : { seed, unit: UNIT };
    const values = await reference.run(feed(input), perturbation, options);
    return model.graph.outputs.map((output) => ({
      name: output.name,
      ...values.get(output.name)!,
    }));
  };
  return {
    outputs: (input) => run(input),
    bound: async (input, at, read) => {
      const truth = read((await run(input))[at]!);
      session ??= await runtime.createSession(model);
      const results = await session.run(feed(input), options);
      const { bytes, dtype, shape: made } = results.get(model.graph.outputs[at]!.name)!;
      const single = { name: "", shape: made, data: decodeFloat64(bytes, dtype) };
      let noise = Math.max(UNIT, outputMetrics(truth, read(single)).relativeL2);
      for (let seed = 1; seed <= MOVED_RUNS; seed++) {
        const moved = read((await run(input, seed))[at]!);
        noise = Math.max(noise, outputMetrics(truth, moved).relativeL2);
      }
      return { limit: Math.sqrt(terms) * noise, noise, terms };
    },
    release: async () => {
      await reference.release();
      await session?.release();
    },
  };
}

/** Terms of the longest sum that one number of some node's output is made of. */
export async function longestSum(
  model: Model,
  inputShapes: ReadonlyMap<string, Shape>,
): Promise<number> {
  const types = await inferShapes(model, inputShapes);
  const sizes = (value: string | undefined): Shape | undefined => {
    const shape = types.get(value ?? "")?.shape;
    return shape?.every((dim) => typeof dim === "number") ? (shape as Shape) : undefined;
  };
  let most = 1;
  for (const node of model.graph.nodes) {
    const [x, w] = [sizes(node.inputs[0]), sizes(node.inputs[1])];
    let terms = 1;
    // The bias is one more.
    if (isOp(node, "Conv")) terms = w ? elementCount(w.slice(1)) + 1 : 1;
    else if (isOp(node, "Gemm") || isOp(node, "MatMul")) terms = (x?.at(-1) ?? 0) + 1;
    else if (/Pool$|^Reduce/.test(node.opType)) {
      const y = sizes(node.outputs[0]);
      terms = x && y ? elementCount(x) / Math.max(1, elementCount(y)) : 1;
    }
    most = Math.max(most, terms);
  }
  return most;
}
