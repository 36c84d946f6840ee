/**
 * @file How far both forms, run in float32, are from the float64 truth after every block: where two functions part, and
 * how much of a difference is nothing but rounding.
 */

import { graphOf } from "../convert/graph-of.ts";
import { decodeFloat64, encodeFloat64 } from "../core/dtype.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Tensor } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import { createReference, type ReferenceValue } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { runWithTaps } from "../runtime/tap.ts";
import { generateInputs } from "./inputs.ts";
import { matchTaps } from "./match-taps.ts";
import { outputMetrics } from "./metrics.ts";
import type { Verification } from "./verify.ts";

/** One place of the net that both forms have. */
export interface NoisePoint {
  readonly name: string;
  /** ‖float32 − truth‖ / ‖truth‖, the truth being the training form in float64. */
  readonly training: number;
  readonly deploy: number;
}

export interface NoiseFloorOptions extends TaskOptions {
  readonly runtime: Runtime;
  /** The first input's values, as given to `verify`. Default: generated, in the shapes that `verify` used. */
  readonly input?: Tensor | undefined;
  /** As given to `verify`. */
  readonly seed?: number | undefined;
}

/**
 * Points in the order of the blocks, then the outputs. Empty where a network is not known or the outputs do not fit
 * together; blocks without a counterpart are left out.
 */
export async function noiseFloor(
  verification: Verification,
  options: NoiseFloorOptions,
): Promise<NoisePoint[]> {
  const { whole } = verification;
  const training = graphOf(verification.training.file);
  const deploy = graphOf(verification.deploy.file);
  if (!whole || whole.outputMismatch !== undefined || !training || !deploy) return [];
  const taps = await matchTaps(verification, training, deploy);
  const { runtime, input, seed } = options;
  const inputs = generateInputs(training, { shape: whole.inputs[0]?.shape, seed });
  const [first] = inputs.keys();
  if (input && first !== undefined) inputs.set(first, asFloat32(input));
  const names = graphInputs(deploy.graph).map((info) => info.name);
  const deployInputs = new Map([...inputs.values()].map((value, i) => [names[i]!, value]));
  const progress = (done: number): void =>
    options.onProgress?.({ label: "noise floor by depth", done, total: 3 });
  progress(0);
  const trainingTaps = taps.map((tap) => tap.training);
  const truth = await exactTaps(training, trainingTaps, inputs, options);
  progress(1);
  const training32 = await runWithTaps(training, runtime, trainingTaps, inputs, options);
  progress(2);
  const deployTaps = taps.map((tap) => tap.deploy);
  const deploy32 = await runWithTaps(deploy, runtime, deployTaps, deployInputs, options);
  return taps.map((tap) => {
    const exact = truth.get(tap.training)?.data;
    return {
      name: tap.name,
      training: relativeError(exact, training32.get(tap.training)),
      deploy: relativeError(exact, deploy32.get(tap.deploy)),
    };
  });
}

async function exactTaps(
  model: Model,
  taps: readonly string[],
  inputs: ReadonlyMap<string, Tensor>,
  options: NoiseFloorOptions,
): Promise<Map<string, ReferenceValue>> {
  const shapes = new Map([...inputs].map(([name, value]) => [name, value.shape]));
  const reference = await createReference(model, options.runtime, shapes, { taps });
  try {
    return await reference.run(inputs, undefined, options);
  } finally {
    await reference.release();
  }
}

/** NaN where there is nothing to compare. */
function relativeError(exact: Float64Array | undefined, found: Tensor | undefined): number {
  if (!exact || !found) return Number.NaN;
  const values = decodeFloat64(found.bytes, found.dtype);
  return values.length === exact.length ? outputMetrics(exact, values).relativeL2 : Number.NaN;
}

function asFloat32(value: Tensor): Tensor {
  if (value.dtype === "float32") return value;
  const bytes = encodeFloat64(decodeFloat64(value.bytes, value.dtype), "float32");
  return { dtype: "float32", shape: value.shape, bytes };
}
