/**
 * @file The language of family rows: by which keys a multi-branch block is known, the small graph its keys form,
 * and what its deploy keys are called. A row is plain JSON data; a user's recipe file is the same type.
 *
 * Every key in a row is relative to the block's prefix. `{n}` stands for a number found in the checkpoint.
 * A stone reads one value (the block's input, or what the stone before it in a `sequence` made) and makes one.
 */

/** One block family. */
export interface FamilyRow {
  /** What `--family` says, kebab-case. */
  readonly name: string;
  /** For people: the project and the block. */
  readonly title: string;
  /** BatchNorm epsilon where the checkpoint does not say it. */
  readonly epsilon: number;
  /** Tried in this order; a key belongs to the first block that claims it. */
  readonly blocks: readonly BlockRow[];
  /**
   * Shapes of block prefixes that speak for this family where several fit: `stage#.#` matches the last two parts of
   * `module.stage2.1` (`#`: digits, `*`: one part, a leading `^`: the whole prefix).
   */
  readonly prefixes?: readonly string[];
  /** If given, the family is considered only at these prefixes (same patterns), or when asked for by name. */
  readonly within?: readonly string[];
  /** Keys that the origin's deploy form deletes (a trailing `.**` means everything below). */
  readonly drops?: readonly string[];
}

/** What the documentation says of a family beside its row. */
export interface FamilyNotes {
  /** Where the facts come from. */
  readonly source: string;
  /** One line each, with source: what surprises people about this family. */
  readonly quirks: readonly string[];
}

/** One kind of block: one fused convolution (or linear layer). */
export interface BlockRow {
  /** The origin's class, for people. */
  readonly kind: string;
  /** The key whose presence makes a prefix a candidate. May hold variables, which then hold in the whole block. */
  readonly anchor: string;
  /** Further keys that must exist. */
  readonly require?: readonly string[];
  /** Keys that must not exist. */
  readonly forbid?: readonly string[];
  /** What the block computes. */
  readonly graph: Stone;
  readonly deploy: DeployNames;
  /** Keys below the prefix that stay as they are (a trailing `.**` means everything below). */
  readonly keeps?: readonly string[];
  /** Further keys of the training form that the deploy form does not have. */
  readonly drops?: readonly string[];
  /** A common shape (conv + bn) that is looked for only in files where another block of the family was found. */
  readonly companion?: boolean;
}

export interface DeployNames {
  readonly weight: string;
  readonly bias: string;
  /** False where the names are so common that a deploy file cannot be recognised by them. Default true. */
  readonly distinctive?: boolean;
}

/** How a stone depends on the checkpoint. */
export interface Presence {
  /** The stone is left out where its keys are absent. */
  readonly optional?: boolean;
  /** Only where this key exists. */
  readonly when?: string;
  /** Only where this key does not exist. */
  readonly unless?: string;
  /** Of a `sum`'s term: only where the sum has as many channels as its input and (as far as known) the stride is 1. */
  readonly sameChannels?: boolean;
}

export type Stone =
  | IdentityStone
  | SequenceStone
  | SumStone
  | ConcatStone
  | EachStone
  | ConvStone
  | BatchNormStone
  | AverageStone
  | ScaleStone
  | ShiftStone
  | PadStone
  | CropStone;

/** The value itself. */
export interface IdentityStone extends Presence {
  readonly identity: true;
}

export interface SequenceStone extends Presence {
  readonly sequence: readonly Stone[];
}

export interface SumStone extends Presence {
  readonly sum: readonly Stone[];
}

/** Along channels. */
export interface ConcatStone extends Presence {
  readonly concat: readonly Stone[];
}

/** One copy of `stone` for every set of numbers with which the key `each` exists, in rising order. */
export interface EachStone extends Presence {
  readonly each: string;
  readonly join: "sum" | "concat" | "sequence";
  readonly stone: Stone;
}

export interface ConvStone extends Presence {
  /** A module's key (`<key>.weight`, and `<key>.bias` if there is one), or expressions. A rank-2 weight is a linear layer. */
  readonly conv: string | { readonly weight: Expression; readonly bias?: Expression };
  /** `"same"` (default): dilation·(k − 1)/2 on every side. */
  readonly padding?: "same" | number;
  /** Default 1; `"{r}"` takes a variable's number. */
  readonly dilation?: number | string;
  /** `"block"` (default): the block's one group count. `"own"`: what its shape says. `"depthwise"`: one per channel. */
  readonly group?: "block" | "own" | "depthwise" | number;
  /** `"interleaved"`: row o·group + g of the weight is output channel o of group g. Default: group by group. */
  readonly rows?: "interleaved";
}

export interface BatchNormStone extends Presence {
  /** A module's key; PyTorch (`running_mean`, `running_var`) or Paddle (`_mean`, `_variance`) statistics. */
  readonly bn: string;
}

/** Average pooling, zero padded, padding counted. */
export interface AverageStone extends Presence {
  /** The kernel size, or the weight's key that has the same one. */
  readonly average: number | string;
  /** `"same"` (default): k // 2. */
  readonly padding?: "same" | number;
}

/** Multiplies by one number or one per channel. */
export interface ScaleStone extends Presence {
  readonly scale: Expression;
}

/** Adds one number or one per channel. */
export interface ShiftStone extends Presence {
  readonly shift: Expression;
}

/** Padding: with zeros, or with the value's own continuation (the bias it has where x is zero). */
export interface PadStone extends Presence {
  /** Size on every side, or the weight's key whose half kernel is meant. */
  readonly pad: number | string;
  readonly with: "zero" | "self";
}

export interface CropStone extends Presence {
  /** Rows and columns cut from every side. */
  readonly crop: number;
}

/** A weight, scale or bias made of the checkpoint's tensors; computed in float64. */
export type Expression =
  /** A tensor by its key. */
  | string
  | number
  | { readonly values: readonly number[]; readonly shape: readonly number[] }
  /** Element by element, broadcast from the last axis as in NumPy. */
  | { readonly add: readonly Expression[] }
  | { readonly multiply: readonly Expression[] }
  /** A pointwise weight's shape `[o, i, 1, 1]` with 1 at `[c, c mod i]`. */
  | { readonly identityLike: Expression }
  /** Row `index` of a matrix `[n, c]`: `[c]`. */
  | { readonly row: string; readonly index: number }
  | { readonly unsqueeze: Expression; readonly axis: number }
  /** `[o, i, kH, kW]` → `[o, i, 1, 1]`, each filter's taps added up (central differences). */
  | { readonly tapSum: Expression }
  /** `[o, i, …taps]` → `[o, i, kH, kW]`; row r of `matrix` says how new tap r is made of the old ones. */
  | {
      readonly taps: Expression;
      readonly matrix: readonly (readonly number[])[];
      readonly kernel: readonly [number, number];
    }
  /** A stride-1 transposed convolution's weight `[i, o/group, kH, kW]` as the equal convolution's `[o, i/group, kH, kW]`. */
  | { readonly transpose: Expression; readonly group?: number };
