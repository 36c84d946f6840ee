/**
 * @file A recognised block to its small graph: input `x`, output `y`, ONNX operators, the checkpoint's tensors as
 * initializers. What shapes and module records do not say is worked out or named as an assumption.
 *
 * Strides are 1 and paddings "same" throughout: neither changes the fused weights. The group count is the smallest
 * that fits every shape of the block; where nothing but the first convolution depends on it, that is 1.
 * Beside standard operators the graph may hold `PadSelf` (domain `reparam`, ints `pads`: begin and end of every spatial
 * axis): the value padded with its own affine continuation.
 */

import { badData, isReparamError, type ReparamError } from "../core/errors.ts";
import type { StateDict } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Graph } from "../ir/graph.ts";
import { type Emission, emitStone } from "./emit-stone.ts";
import { MAX_CHANNELS } from "./limits.ts";
import type { BlockMatch } from "./recognize.ts";

export interface CompileOptions {
  /** BatchNorm epsilon where module records do not hold it. Default: the family's. */
  readonly epsilon?: number | undefined;
  /** The block's group count. Default: from the shapes. */
  readonly group?: number | undefined;
  /** Whether a block whose keys do not tell has its identity branch. Default: if input and output channels agree. */
  readonly identity?: boolean | undefined;
}

export interface BlockGraph {
  readonly graph: Graph;
  readonly input: "x";
  readonly output: "y";
  readonly inChannels: number;
  readonly outChannels: number;
  /** The block's group count: the fused weight is `[outChannels, inChannels / group, kH, kW]`. */
  readonly group: number;
  /** Axes of the deploy weight: 4, or 2 for a linear layer (kernel 1×1, spatial axes dropped). */
  readonly weightRank: 2 | 4;
  readonly epsilon: { readonly value: number; readonly from: "file" | "option" | "default" };
  /** What the checkpoint leaves open and was assumed, one sentence each. Tell the user. */
  readonly assumptions: readonly string[];
}

/**
 * Compiles a block in training (or mixed) form.
 *
 * Throws `bad-data` if the shapes contradict each other or a limit, and for a block in deploy form.
 */
export function compileBlock(
  match: BlockMatch,
  state: StateDict,
  options: CompileOptions = {},
): BlockGraph {
  if (match.form === "deploy") {
    throw badData(match.prefix || "block", "is in deploy form already, expected training form");
  }
  const first = attempt(match, state, options.group ?? 1, options);
  const candidates: Attempt[] = [first];
  if (
    options.group === undefined &&
    (isFailure(first) || (first.emission.sameChannels === false && options.identity !== false))
  ) {
    for (const group of divisors(first.emission.groupedOutputs)) {
      if (group > 1) candidates.push(attempt(match, state, group, options));
      // Without a branch that depends on it, the smallest group that fits is as good as any.
      if (isFailure(first) && !isFailure(candidates.at(-1)!)) break;
    }
  }
  const fitting = candidates.filter((candidate) => !isFailure(candidate));
  const assumptions: string[] = [];
  const chosen = choose(fitting, match, state, assumptions);
  if (!chosen) throw first.error ?? badData(match.prefix || "block", "its shapes do not fit");
  const { emission, inChannels, outChannels, group } = chosen;
  if (emission.sameChannels && options.identity === undefined) {
    assumptions.push(
      `${match.prefix}: branches without keys (the identity), as ${inChannels} input and output channels agree and the stride is taken as 1 (--no-identity leaves them out)`,
    );
  }
  const fromFile = [...emission.fileEpsilons];
  return {
    graph: chosen.graph!,
    input: "x",
    output: "y",
    inChannels,
    outChannels,
    group,
    weightRank: emission.weightRanks.size === 1 && emission.weightRanks.has(2) ? 2 : 4,
    epsilon:
      fromFile.length > 0
        ? { value: fromFile[0]!, from: "file" }
        : { value: emission.epsilon, from: options.epsilon === undefined ? "default" : "option" },
    assumptions,
  };
}

interface Attempt {
  readonly group: number;
  readonly emission: Emission;
  readonly graph?: Graph;
  readonly error?: ReparamError;
  readonly inChannels: number;
  readonly outChannels: number;
}

function isFailure(attempted: Attempt): boolean {
  return attempted.graph === undefined;
}

function attempt(
  match: BlockMatch,
  state: StateDict,
  group: number,
  options: CompileOptions,
): Attempt {
  const builder = createGraphBuilder({ name: match.prefix || match.block.kind });
  const emission: Emission = {
    builder,
    state,
    group,
    epsilon: options.epsilon ?? match.family.epsilon,
    identity: options.identity ?? recordedIdentity(match, state),
    fileEpsilons: new Set(),
    groupedOutputs: new Set(),
    weightRanks: new Set(),
    sameChannels: undefined,
  };
  const channels = { count: undefined as number | undefined };
  try {
    const y = emitStone(
      match.stone,
      { name: builder.input("x", "float64", undefined), channels },
      emission,
    );
    const outChannels = y.channels.count;
    const inChannels = channels.count;
    if (inChannels === undefined || outChannels === undefined) {
      throw badData(match.prefix || "block", "its channel counts do not follow from the shapes");
    }
    builder.output(builder.node("Identity", [y.name], {}, "y"), "float64", [
      "N",
      outChannels,
      "H",
      "W",
    ]);
    const inputs = [{ name: "x", dtype: "float64" as const, shape: ["N", inChannels, "H", "W"] }];
    return { group, emission, graph: { ...builder.buildGraph(), inputs }, inChannels, outChannels };
  } catch (error) {
    if (!isReparamError(error)) throw error;
    return { group, emission, error, inChannels: 0, outChannels: 0 };
  }
}

/** Divisors of every output channel count seen, rising. */
function divisors(counts: ReadonlySet<number>): number[] {
  let common = 0;
  for (const count of counts) {
    let [a, b] = [common, count];
    while (b !== 0) [a, b] = [b, a % b];
    common = a;
  }
  const found: number[] = [];
  for (let d = 1; d <= Math.min(common, MAX_CHANNELS); d++) if (common % d === 0) found.push(d);
  return found;
}

/**
 * The group count decides whether a bare identity branch is there, so it must not be picked at random: the layer before
 * the block in file order says how many channels come in; if that does not help, the smallest count is assumed.
 */
function choose(
  fitting: readonly Attempt[],
  match: BlockMatch,
  state: StateDict,
  assumptions: string[],
): Attempt | undefined {
  const [smallest, ...others] = fitting;
  if (!smallest || others.length === 0) return smallest;
  const before = channelsBefore(match, state);
  const byOrder = fitting.find((candidate) => candidate.inChannels === before);
  const chosen = byOrder ?? smallest;
  assumptions.push(
    `${match.prefix}: ${chosen.group} group${chosen.group === 1 ? "" : "s"}, ${byOrder ? `as the layer before it makes ${before} channels` : "the smallest number that fits"}; the shapes allow ${fitting.map((candidate) => candidate.group).join(", ")}`,
  );
  return chosen;
}

/** Output channels of the last convolution that stands before the block in the file. */
function channelsBefore(match: BlockMatch, state: StateDict): number | undefined {
  const own = new Set(match.keys);
  let before: number | undefined;
  for (const [key, tensor] of state.tensors) {
    if (own.has(key)) return before;
    if (tensor.shape.length === 4) before = tensor.shape[0];
  }
  return undefined;
}

/** What pickled module records say about a bare identity branch: none where a convolution of the block has a stride. */
function recordedIdentity(match: BlockMatch, state: StateDict): boolean | undefined {
  for (const key of match.keys) {
    const dot = key.lastIndexOf(".");
    const stride = dot < 0 ? undefined : state.modules.get(key.slice(0, dot))?.attributes["stride"];
    const steps = typeof stride === "number" ? [stride] : Array.isArray(stride) ? stride : [];
    if (steps.some((step) => step !== 1)) return false;
  }
  return undefined;
}
