/**
 * @file Convolutions of a plain checkpoint that a block could stand for. Keys and shapes say neither stride nor padding
 * nor, always, the group count: what whole pickled modules or the user say is used, the rest is assumed and reported.
 */

import { parameter } from "../algebra/parameter.ts";
import { isFloatDType } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { LazyTensor, ModuleRecord } from "../core/tensor.ts";
import { tensorParameter } from "../rewrite/insert/block-tensors.ts";
import type { LeftAlone } from "../rewrite/insert/find-convs.ts";
import { namePattern } from "../rewrite/insert/name-pattern.ts";
import type { Target } from "../rewrite/insert/target.ts";
import { type BatchNormPlacement, type ConvBnPair, pairConvBn } from "../zoo/pair-conv-bn.ts";
import { type CheckpointFile, stripPrefix } from "./open.ts";

/** What a user can say about a plain net that its checkpoint does not say. */
export interface PlainNetOptions {
  /** Name pattern of convolutions with a stride: they get no identity branch. */
  readonly strided?: string | undefined;
  /** `PATTERN=G` or `PATTERN=depthwise`, separated by semicolons. */
  readonly groups?: string | undefined;
  /** Where batch norms stand; told from the file by default. */
  readonly batchNorm?: BatchNormPlacement | undefined;
}

export interface CheckpointConv {
  /** Module key without the wrapper's prefix. */
  readonly name: string;
  /** Full keys that the block replaces, the weight first. */
  readonly keys: readonly string[];
  readonly target: Target;
  readonly assumptions: readonly ConvAssumption[];
}

/** What was assumed of a convolution, and what to say where that is wrong. */
export interface ConvAssumption {
  readonly about: "stride" | "group";
  /** A sentence without its subject. */
  readonly text: string;
}

/** PyTorch's default. */
export const TORCH_EPSILON = 1e-5;

/** Convolutions with more than one tap, in file order. Throws `usage` for options that cannot be read. */
export function checkpointConvs(
  file: CheckpointFile,
  options: PlainNetOptions = {},
): (CheckpointConv | LeftAlone)[] {
  const { tensors, modules } = stripPrefix(file.state, file.prefix);
  const ordered = file.format !== "safetensors";
  const context: Context = {
    tensors,
    modules,
    prefix: file.prefix,
    epsilon: file.reading.epsilon ?? TORCH_EPSILON,
    strided: options.strided === undefined ? () => false : namePattern(options.strided),
    groups: groupPatterns(options.groups),
  };
  let channelsBefore: number | undefined;
  return pairConvBn(tensors, { placement: options.batchNorm, ordered }).flatMap((pair) => {
    const weight = tensors.get(`${pair.conv}.weight`)!;
    const before = channelsBefore;
    channelsBefore = weight.shape[0];
    if (weight.shape.slice(2).every((n) => n === 1)) return [];
    const found = convOf(pair, weight, before, context);
    return [typeof found === "string" ? { name: pair.conv, reason: found } : found];
  });
}

interface Context {
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  readonly modules: ReadonlyMap<string, ModuleRecord>;
  readonly prefix: string;
  readonly epsilon: number;
  readonly strided: (name: string) => boolean;
  readonly groups: readonly { fits(name: string): boolean; readonly group: number | "depthwise" }[];
}

function convOf(
  pair: ConvBnPair,
  weight: LazyTensor,
  channelsBefore: number | undefined,
  context: Context,
): CheckpointConv | string {
  const { conv: name, batchNorm } = pair;
  const { tensors, modules } = context;
  const { dtype, shape } = weight;
  const [outC = 0, perGroup = 0, ...kernel] = shape;
  if (kernel.length !== 2)
    return `it has ${kernel.length} spatial axes; the family's modules have 2`;
  if (!isFloatDType(dtype) || (dtype !== "float32" && dtype !== "float64")) {
    return `its weight is ${dtype}; blocks are trained in float32`;
  }
  if (outC === 0 || perGroup === 0) return "it has no channels";
  const bias = tensors.get(`${name}.bias`);
  const record = modules.get(name);
  const transposed =
    /deconv|transpose|upconv/i.test(name) ||
    record?.className.includes("Transpose") ||
    (bias !== undefined && bias.shape[0] !== outC);
  if (transposed) return "it is, or may be, transposed: its name or the length of its bias says so";
  if (kernel[0] !== kernel[1])
    return `its kernel is ${kernel.join("×")}; the family's modules are square`;
  const size = kernel[0]!;
  if (size % 2 === 0)
    return `its kernel is ${size}×${size}: a 1×1 branch has no middle to stand at`;
  if (pair.unclear) return `${pair.unclear}. Say --batch-norm after or none`;
  const odd = whyUnusual(record, size);
  if (odd) return odd;
  const assumptions: ConvAssumption[] = [];
  const group = groupOf(name, { outC, perGroup, channelsBefore }, context, assumptions);
  if (typeof group === "string") return group;
  const stride = strideOf(name, record, perGroup * group === outC, context, assumptions);
  const axis = { kernel: size, stride, dilation: 1, beginPad: size >> 1, endPad: size >> 1 };
  const read = (key: string): Target["weight"] => tensorParameter(key, tensors.get(key)!);
  const keys = [`${name}.weight`, ...(bias ? [`${name}.bias`] : [])];
  const epsilon = modules.get(batchNorm ?? "")?.attributes["eps"];
  const has = (key: string): boolean => tensors.has(key);
  const vector = (key: string, otherwise: number): Target["weight"] =>
    has(key) ? read(key) : parameter(key, new Float64Array(outC).fill(otherwise));
  const bn = batchNorm && {
    // `affine=False` has neither.
    gamma: vector(`${batchNorm}.weight`, 1),
    beta: vector(`${batchNorm}.bias`, 0),
    mean: read(`${batchNorm}.running_mean`),
    variance: read(`${batchNorm}.running_var`),
    epsilon: typeof epsilon === "number" ? epsilon : context.epsilon,
  };
  if (batchNorm) {
    const parts = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    keys.push(...parts.map((part) => `${batchNorm}.${part}`).filter(has));
  }
  return {
    name,
    keys: keys.map((key) => `${context.prefix}${key}`),
    target: {
      name,
      geometry: { outC, inC: perGroup * group, group, axes: [axis, axis] },
      weight: read(`${name}.weight`),
      bias: bias && read(`${name}.bias`),
      batchNorm: bn || undefined,
      dtype,
    },
    assumptions,
  };
}

/** Attributes of a pickled module that no module of the families has. */
function whyUnusual(record: ModuleRecord | undefined, size: number): string | undefined {
  if (!record) return undefined;
  const { padding, dilation, padding_mode: mode } = record.attributes;
  const all = (value: typeof padding, expected: number): boolean =>
    value === undefined ||
    value === expected ||
    (Array.isArray(value) && value.every((n) => n === expected));
  if (mode !== undefined && mode !== "zeros") return `its padding mode is ${mode}`;
  if (!all(dilation, 1))
    return `its dilation is ${dilation}; the families' branches ignore dilation`;
  return all(padding, size >> 1)
    ? undefined
    : `its padding is ${padding}, not ${size >> 1}: the family's 1×1 branch would be off by the difference`;
}

function groupOf(
  name: string,
  shape: { outC: number; perGroup: number; channelsBefore: number | undefined },
  { groups, modules }: Context,
  assumptions: ConvAssumption[],
): number | string {
  const { outC, perGroup, channelsBefore } = shape;
  const said = groups.find(({ fits }) => fits(name))?.group;
  const recorded = modules.get(name)?.attributes["groups"];
  const known = said === "depthwise" ? outC : (said ?? recorded);
  if (typeof known === "number") {
    return outC % known === 0 ? known : `${known} groups do not divide its ${outC} output channels`;
  }
  if (perGroup === 1 && outC > 1 && channelsBefore === outC) {
    assumptions.push({
      about: "group",
      text: "taken as depthwise, as the layer before makes as many channels; if not, say --groups",
    });
    return outC;
  }
  const others = (channelsBefore ?? perGroup) / perGroup;
  if (others > 1 && Number.isInteger(others) && outC % others === 0) {
    assumptions.push({
      about: "group",
      text: `taken as 1 group; the layer before makes ${channelsBefore} channels: if there are ${others} groups, say --groups NAME=${others}`,
    });
  }
  return 1;
}

function strideOf(
  name: string,
  record: ModuleRecord | undefined,
  sameChannels: boolean,
  { strided }: Context,
  assumptions: ConvAssumption[],
): number {
  const recorded = record?.attributes["stride"];
  const steps = Array.isArray(recorded) ? Math.max(...recorded) : recorded;
  if (strided(name)) return 2;
  if (typeof steps === "number") return steps;
  if (sameChannels)
    assumptions.push({
      about: "stride",
      text: "given an identity branch, as input and output channels agree; where there is a stride, say --strided",
    });
  return 1;
}

function groupPatterns(text: string | undefined): Context["groups"] {
  if (text === undefined) return [];
  return text.split(";").map((entry) => {
    const at = entry.lastIndexOf("=");
    const value = entry.slice(at + 1).trim();
    const group = value === "depthwise" ? value : Number(value);
    if (at < 1 || (group !== "depthwise" && !(Number.isInteger(group) && group > 0))) {
      throw new ReparamError("usage", {
        where: "groups",
        what: `"${entry}" is not PATTERN=NUMBER or PATTERN=depthwise`,
      });
    }
    return { fits: namePattern(entry.slice(0, at).trim()), group };
  });
}
