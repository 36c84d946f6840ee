/** @file Learning rate by step. */

import { ReparamError } from "../core/errors.ts";

export interface ScheduleOptions {
  /** Peak learning rate. RepVGG: 0.1 per 256 samples. */
  readonly learningRate: number;
  /** `cosine` falls to `finalRate` at the last step. Default cosine. */
  readonly shape?: "cosine" | "constant";
  /** Epochs of linear rise from 0. May be a fraction. Default 0. */
  readonly warmupEpochs?: number;
  /** Default 0. */
  readonly finalRate?: number;
}

/** Throws `usage` for numbers that make no sense. */
export function assertSchedule(options: ScheduleOptions, epochs: number): void {
  const { learningRate, warmupEpochs = 0, finalRate = 0 } = options;
  const refuse = (name: string, value: number, expected: string): never => {
    throw new ReparamError("usage", { where: name, what: `is ${value}, expected ${expected}` });
  };
  if (!(learningRate > 0 && Number.isFinite(learningRate))) {
    refuse("learningRate", learningRate, "a positive number");
  }
  if (!(warmupEpochs >= 0 && warmupEpochs <= epochs)) {
    refuse("warmupEpochs", warmupEpochs, `0 to the ${epochs} epochs of the run`);
  }
  if (!(finalRate >= 0 && finalRate <= learningRate)) {
    refuse("finalRate", finalRate, "0 to the learning rate");
  }
}

/** The rate of optimizer step `step` (from 0) of `totalSteps`. */
export function learningRateAt(
  options: ScheduleOptions,
  step: number,
  stepsPerEpoch: number,
  totalSteps: number,
): number {
  const { learningRate, shape = "cosine", warmupEpochs = 0, finalRate = 0 } = options;
  const warmup = Math.round(warmupEpochs * stepsPerEpoch);
  if (step < warmup) return (learningRate * (step + 1)) / warmup;
  if (shape === "constant" || totalSteps <= warmup) return learningRate;
  const progress = (step - warmup) / (totalSteps - warmup);
  return finalRate + 0.5 * (learningRate - finalRate) * (1 + Math.cos(Math.PI * progress));
}
