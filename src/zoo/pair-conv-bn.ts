/**
 * @file Which batch norm belongs to which convolution of a plain checkpoint, by key names. A checkpoint says nothing
 * about how modules are connected, so only names that say it are believed:
 *
 *     Sequential        `features.0`, `features.1`        the next number
 *     named alike       `conv1`, `bn1`; `conv`, `bn`; `conv2`, `norm2`
 *
 * and only where widths agree. A batch norm of that name may also stand *before* the convolution (pre-activation nets):
 * the file's order tells where it was registered, a width that fits only one side tells as well, and where neither
 * does, the rest of the net decides or nobody.
 */

import type { TensorMap } from "../core/tensor.ts";

/** Where batch norms stand: `after` the convolution of that name, or none of them belongs to one. */
export type BatchNormPlacement = "after" | "none";

export interface ConvBnPair {
  /** Module key of the convolution: its weight is `<conv>.weight`. */
  readonly conv: string;
  /** Module key of the batch norm that follows it; undefined when there is none. */
  readonly batchNorm: string | undefined;
  /** Why it cannot be told, where that is so; then `batchNorm` is the one in question. */
  readonly unclear?: string;
}

export interface PairOptions {
  /** What the user says. Default: told from the file. */
  readonly placement?: BatchNormPlacement | undefined;
  /** Whether the file keeps the order of registration; files sorted by name do not. */
  readonly ordered: boolean;
}

/** One entry per convolution weight `[outC, inC/group, ...kernel]` of at least one spatial axis, in file order. */
export function pairConvBn(tensors: TensorMap, options: PairOptions): ConvBnPair[] {
  const keys = [...tensors.keys()];
  const position = new Map(keys.map((key, i) => [key, i]));
  const drafts = keys.flatMap((key) => {
    const shape = tensors.get(key)!.shape;
    if (!key.endsWith(".weight") || shape.length < 3) return [];
    return [draftOf(key.slice(0, -".weight".length), tensors, position, options)];
  });
  if (options.placement) return drafts.map((draft) => settled(draft, options.placement!));
  const sides = new Set(drafts.flatMap(({ side }) => (side === "open" ? [] : [side])));
  sides.delete("none");
  const [convention] = sides.size === 1 ? sides : [];
  return drafts.map((draft) => {
    if (draft.side !== "open") return settled(draft, draft.side === "after" ? "after" : "none");
    if (convention) return settled(draft, convention === "after" ? "after" : "none");
    return {
      conv: draft.conv,
      batchNorm: draft.candidate,
      unclear: `${draft.candidate} may stand before or after it: the names and widths fit both, and the file is sorted by name`,
    };
  });
}

interface Draft {
  readonly conv: string;
  readonly candidate: string | undefined;
  readonly side: "after" | "before" | "none" | "open";
}

function settled({ conv, candidate }: Draft, placement: BatchNormPlacement): ConvBnPair {
  return { conv, batchNorm: placement === "after" ? candidate : undefined };
}

function draftOf(
  conv: string,
  tensors: TensorMap,
  position: ReadonlyMap<string, number>,
  { ordered }: PairOptions,
): Draft {
  const [outC = 0, perGroup = 0] = tensors.get(`${conv}.weight`)!.shape;
  const widthOf = (name: string): number | undefined => {
    const shape = tensors.get(`${name}.running_mean`)?.shape;
    return shape?.length === 1 && tensors.has(`${name}.running_var`) ? shape[0] : undefined;
  };
  const named = namesAlike(conv).filter((name) => widthOf(name) !== undefined);
  const [candidate, ...others] = named;
  if (candidate === undefined || others.length > 0)
    return { conv, candidate: undefined, side: "none" };
  if (widthOf(candidate) !== outC) return { conv, candidate: undefined, side: "before" };
  if (/(^|\.)\d+$/.test(conv)) return { conv, candidate, side: "after" };
  if (ordered) {
    const after = position.get(`${candidate}.running_mean`)! > position.get(`${conv}.weight`)!;
    return { conv, candidate, side: after ? "after" : "before" };
  }
  // Before the convolution it would be as wide as the input.
  return { conv, candidate, side: perGroup !== outC && perGroup !== 1 ? "after" : "open" };
}

/** Module keys under which this convolution's batch norm would be found. */
function namesAlike(conv: string): string[] {
  const dot = conv.lastIndexOf(".");
  const parent = conv.slice(0, dot + 1);
  const last = conv.slice(dot + 1);
  if (/^\d+$/.test(last)) return [`${parent}${Number(last) + 1}`];
  if (!/conv/i.test(last)) return [];
  const words: readonly (readonly [RegExp, string])[] = [
    [/conv/, "bn"],
    [/conv/, "norm"],
    [/conv/, "batchnorm"],
    [/Conv/, "BN"],
    [/Conv/, "Bn"],
    [/Conv/, "Norm"],
    [/conv2d/i, "bn"],
  ];
  const names = words.flatMap(([word, by]) => {
    const renamed = last.replace(word, by);
    return renamed === last ? [] : [`${parent}${renamed}`];
  });
  return [...new Set(names)];
}
