/** @file What a diagnosis is made of: plain data. */

import type { Kernel } from "../verify/side.ts";
import type { CauseId } from "./causes.ts";
import type { FileCauseId } from "./file-causes.ts";

/**
 * `proved`: with this fault put into the exact fuse, every weight is back within k roundings (or the fact was read from
 * the files). `consistent`: everything seen fits, and other explanations are not excluded.
 */
export type Confidence = "proved" | "consistent";

/** A number or words, by name; arrays are per block or per channel as the name says. */
export type Evidence = Readonly<
  Record<string, number | string | boolean | readonly number[] | readonly string[]>
>;

export interface Effect {
  /** ‖y(with only this fault) − y‖ / ‖y‖ at the output that moves most. */
  readonly relativeL2: number;
  readonly maxAbsError: number;
  /** Share of equal top-1 decisions, where the output is a classifier's. */
  readonly top1Agreement: number | undefined;
}

export interface Finding {
  readonly cause: CauseId;
  /** What it is about in this case, one line: which branch, which numbers. */
  readonly detail: string;
  /** Blocks, tensors, nodes or outputs it was found at. */
  readonly blocks: readonly string[];
  readonly confidence: Confidence;
  readonly evidence: Evidence;
  /** Measured at the output by applying only this fault; undefined where there is no graph or no runtime. */
  readonly effect: Effect | undefined;
  readonly fix: string;
}

/** One fault of one block. */
export interface BlockFault {
  readonly block: string;
  readonly cause: FileCauseId;
  readonly detail: string;
  readonly confidence: Confidence;
  readonly evidence: Evidence;
  /** The exact fuse with this fault and no other; undefined where it cannot be had. */
  readonly faulty: Kernel | undefined;
}
