/** @file Losses: the value, and the gradient that starts the backward pass. */

import { elementCount } from "../core/tensor.ts";
import type { Emitter } from "./emitter.ts";
import {
  add,
  cast,
  equal,
  mul,
  reduceMean,
  reduceSum,
  reshape,
  scale,
  sub,
  unary,
} from "./vocabulary.ts";

export interface LossOutput {
  /** Rank 0, the mean over the batch. */
  readonly loss: string;
  /** ∂loss/∂prediction */
  readonly gradient: string;
  /** Rank 0: how many of the batch were classified right; 0 for a regression. */
  readonly correct: string;
}

/**
 * Softmax cross-entropy with label smoothing s, as PyTorch defines it: targets q = (1 − s)·onehot + s/classes.
 *
 *     loss = −mean_n Σ_c q·log p,   ∂loss/∂logits = (p − q)/n
 *
 * @param logits `[n, classes]`
 * @param labels int64 `[n]`
 */
export function crossEntropy(
  e: Emitter,
  logits: string,
  labels: string,
  smoothing: number,
): LossOutput {
  const [n = 1, classes = 1] = e.shape(logits);
  const hit = oneHot(e, logits, labels);
  const spread = e.scalar(smoothing / classes);
  const q = smoothing === 0 ? hit : add(e, scale(e, hit, 1 - smoothing), spread);
  const logP = unary(e, "LogSoftmax", logits, { axis: 1 });
  const perSample = reduceSum(e, mul(e, q, logP), [1], false);
  const loss = unary(e, "Neg", reduceMean(e, perSample, [0], false));
  const gradient = scale(e, sub(e, unary(e, "Exp", logP), q), 1 / n);
  return { loss, gradient, correct: correctCount(e, logits, labels) };
}

/** Rank 0: rows of `logits` whose largest entry is the label. */
function correctCount(e: Emitter, logits: string, labels: string): string {
  const [n = 1] = e.shape(logits);
  const best = e.node("ArgMax", [logits], [n], { axis: 1, keepdims: 0 });
  return reduceSum(e, cast(e, equal(e, best, labels)), [0], false);
}

/**
 * Mean squared error to the one-hot vector of the label, which is a proper score for classes too.
 *
 * @param prediction `[n, classes]`
 * @param labels int64 `[n]`
 */
export function oneHotSquaredError(e: Emitter, prediction: string, labels: string): LossOutput {
  const target = oneHot(e, prediction, labels);
  return {
    ...meanSquaredError(e, prediction, target),
    correct: correctCount(e, prediction, labels),
  };
}

/** `[n, classes]`: 1 at each label. */
function oneHot(e: Emitter, prediction: string, labels: string): string {
  const [n = 1, classes = 1] = e.shape(prediction);
  const classNumbers = e.ints(
    Array.from({ length: classes }, (_, c) => c),
    [1, classes],
  );
  return cast(e, equal(e, reshape(e, labels, [n, 1]), classNumbers));
}

/** Mean squared error over all elements: loss = mean (y − t)², gradient 2(y − t)/count. */
export function meanSquaredError(e: Emitter, prediction: string, target: string): LossOutput {
  const shape = e.shape(prediction);
  const difference = sub(e, prediction, target);
  const flat = reshape(e, mul(e, difference, difference), [elementCount(shape)]);
  return {
    loss: reduceMean(e, flat, [0], false),
    gradient: scale(e, difference, 2 / elementCount(shape)),
    correct: e.scalar(0),
  };
}

/** loss + extra, for penalties that are added to the data term. */
export function addPenalty(e: Emitter, output: LossOutput, penalty: string): LossOutput {
  return { ...output, loss: add(e, output.loss, penalty) };
}
