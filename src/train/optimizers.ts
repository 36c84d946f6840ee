/** @file Optimizer updates over flat vectors, as PyTorch 2 defines them. */

import { ReparamError } from "../core/errors.ts";
import type { Emitter } from "./emitter.ts";
import { add, div, mul, scale, sub, unary } from "./vocabulary.ts";

/**
 * `torch.optim.SGD`: g += λ·p; v = μ·v + g; p −= lr·(nesterov ? g + μ·v : v). The velocity starts at zero, which gives
 * the same first step as PyTorch's "no buffer yet".
 */
export interface SgdOptions {
  readonly type: "sgd";
  /** μ. Default 0.9. */
  readonly momentum?: number;
  /** Default true. */
  readonly nesterov?: boolean;
  /** λ. Default 1e-4. */
  readonly weightDecay?: number;
}

/** `torch.optim.AdamW`: p −= lr·λ·p; then Adam with bias correction. */
export interface AdamWOptions {
  readonly type: "adamw";
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** λ. Default 0.01. */
  readonly weightDecay?: number;
}

export type OptimizerOptions = SgdOptions | AdamWOptions;

export interface UpdateInputs {
  /** `[parameters]` */
  readonly parameters: string;
  readonly gradient: string;
  /** One entry per name of `optimizerState`. */
  readonly state: ReadonlyMap<string, string>;
  /** Rank 0. */
  readonly learningRate: string;
  /** Rank 0: 1 − β₁ᵗ and √(1 − β₂ᵗ), AdamW only. */
  readonly correction1: string;
  readonly correction2: string;
  /** `[parameters]`: 1 where weight decay applies, 0 elsewhere. */
  readonly decayMask: string;
}

export interface UpdateOutputs {
  readonly parameters: string;
  readonly state: ReadonlyMap<string, string>;
}

/** The vectors an optimizer keeps, each as long as the parameters and zero at the start. */
export function optimizerState(options: OptimizerOptions): readonly string[] {
  return options.type === "sgd" ? ["velocity"] : ["first_moment", "second_moment"];
}

/** Throws `usage` for numbers PyTorch refuses too. */
export function assertOptimizer(options: OptimizerOptions): void {
  const ranges: [string, number | undefined, number, number][] = [
    ["weightDecay", options.weightDecay, 0, Number.MAX_VALUE],
    ...(options.type === "sgd"
      ? ([["momentum", options.momentum, 0, 1]] as [string, number | undefined, number, number][])
      : ([
          ["beta1", options.beta1, 0, 1],
          ["beta2", options.beta2, 0, 1],
          ["epsilon", options.epsilon, 0, Number.MAX_VALUE],
        ] as [string, number | undefined, number, number][])),
  ];
  for (const [name, value, low, high] of ranges) {
    if (value === undefined || (value >= low && value <= high)) continue;
    throw new ReparamError("usage", {
      where: `optimizer ${options.type}: ${name}`,
      what: `is ${value}, expected ${low} to ${high}`,
    });
  }
}

export function emitUpdate(
  e: Emitter,
  options: OptimizerOptions,
  inputs: UpdateInputs,
): UpdateOutputs {
  return options.type === "sgd" ? emitSgd(e, options, inputs) : emitAdamW(e, options, inputs);
}

function emitSgd(e: Emitter, options: SgdOptions, inputs: UpdateInputs): UpdateOutputs {
  const { momentum = 0.9, nesterov = true, weightDecay = 1e-4 } = options;
  const { parameters, learningRate } = inputs;
  const velocityBefore = inputs.state.get("velocity")!;
  const gradient =
    weightDecay === 0
      ? inputs.gradient
      : add(e, inputs.gradient, mul(e, parameters, scale(e, inputs.decayMask, weightDecay)));
  const velocity = add(e, scale(e, velocityBefore, momentum), gradient);
  const direction = nesterov ? add(e, gradient, scale(e, velocity, momentum)) : velocity;
  return {
    parameters: sub(e, parameters, mul(e, direction, learningRate)),
    state: new Map([["velocity", velocity]]),
  };
}

function emitAdamW(e: Emitter, options: AdamWOptions, inputs: UpdateInputs): UpdateOutputs {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01 } = options;
  const { gradient, learningRate } = inputs;
  const shrink = mul(e, scale(e, inputs.decayMask, weightDecay), learningRate);
  const decayed =
    weightDecay === 0 ? inputs.parameters : mul(e, inputs.parameters, sub(e, e.scalar(1), shrink));
  const first = add(
    e,
    scale(e, inputs.state.get("first_moment")!, beta1),
    scale(e, gradient, 1 - beta1),
  );
  const second = add(
    e,
    scale(e, inputs.state.get("second_moment")!, beta2),
    scale(e, mul(e, gradient, gradient), 1 - beta2),
  );
  const root = div(e, unary(e, "Sqrt", second), inputs.correction2);
  const step = div(e, learningRate, inputs.correction1);
  const direction = div(e, first, add(e, root, e.scalar(epsilon)));
  return {
    parameters: sub(e, decayed, mul(e, direction, step)),
    state: new Map([
      ["first_moment", first],
      ["second_moment", second],
    ]),
  };
}
