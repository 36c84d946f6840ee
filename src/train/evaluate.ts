/** @file Accuracy of a model on a data set. */

import { bytesOf, float32View } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import { defaultNormalization, type Normalization } from "./augment.ts";
import { batches } from "./batches.ts";
import type { Dataset } from "./dataset.ts";

export interface EvaluateOptions extends TaskOptions {
  readonly model: Model;
  readonly dataset: Dataset;
  readonly runtime: Runtime;
  /** Samples per run. Default 128. */
  readonly batch?: number;
  readonly normalization?: Normalization;
  readonly threads?: number;
  /** The model output that holds the scores; the first by default. */
  readonly output?: string;
}

export interface Evaluation {
  /** Share of `count` classified right (largest score; the first of equal ones). */
  readonly accuracy: number;
  readonly correct: number;
  readonly count: number;
  /** Chosen class per sample, in order. */
  readonly predictions: Int32Array;
  /** Samples that could not be decoded. */
  readonly skipped: readonly string[];
}

export async function evaluateModel(options: EvaluateOptions): Promise<Evaluation> {
  const { model, dataset, runtime, threads, signal, onProgress } = options;
  const input = graphInputs(model.graph)[0];
  const output = options.output ?? model.graph.outputs[0]?.name ?? "";
  const fixed = input?.shape?.[0];
  const batch = typeof fixed === "number" ? fixed : (options.batch ?? 128);
  const normalization = options.normalization ?? defaultNormalization(dataset.shape[0] ?? 0);
  const session = await runtime.createSession(model, {
    optimization: "all",
    ...(threads === undefined ? {} : { threads }),
  });
  const skipped: string[] = [];
  const predictions: number[] = [];
  let correct = 0;
  try {
    const onSkipped = (name: string): void => {
      skipped.push(name);
    };
    for await (const { images, labels, count } of batches({
      dataset,
      batch,
      normalization,
      onSkipped,
    })) {
      const tensor = {
        dtype: "float32",
        shape: [batch, ...dataset.shape],
        bytes: bytesOf(images),
      } as const;
      const outputs = await session.run(new Map([[input?.name ?? "", tensor]]), { signal });
      const scores = outputs.get(output);
      if (scores?.shape.length !== 2) {
        throw new ReparamError("refused", {
          where: `output ${output}`,
          what: `its shape is [${scores?.shape.join(", ") ?? "none"}], expected [batch, classes]`,
        });
      }
      const classes = scores.shape[1]!;
      const values = float32View(scores.bytes);
      for (let n = 0; n < count; n++) {
        const best = indexOfMax(values.subarray(n * classes, (n + 1) * classes));
        predictions.push(best);
        if (BigInt(best) === labels[n]) correct++;
      }
      onProgress?.({ label: "evaluating", done: predictions.length, total: dataset.size });
    }
  } finally {
    await session.release();
  }
  const count = predictions.length;
  return {
    accuracy: count === 0 ? 0 : correct / count,
    correct,
    count,
    predictions: Int32Array.from(predictions),
    skipped,
  };
}

function indexOfMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
