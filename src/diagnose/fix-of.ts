/** @file What to do about a fault. A branch without keys may as well be a wrong reading of the training form. */

import type { Side } from "../verify/side.ts";
import type { WeightCertificate } from "../verify/weights.ts";
import { FILE_CAUSES } from "./file-causes.ts";
import type { BlockFault } from "./finding.ts";

const ASSUMED_IDENTITY =
  "No key tells whether the block has this branch. If it has, add the input to the sum; if it has not, read the training form with --no-identity.";

const IDENTITY_LEFT_OUT =
  "The training form was read without it. If the net has this branch, leave --no-identity out; else remove the branch from the fuse.";

/** For faults that are alike: of one cause, mostly with one detail. */
export function fixOf(
  group: readonly BlockFault[],
  training: Side,
  { blocks }: WeightCertificate,
): string {
  const { cause, detail } = group[0]!;
  if (cause === "branch-extra" && detail === "the input itself") {
    if (training.file.reading.identity === false) return IDENTITY_LEFT_OUT;
  }
  if (cause === "identity-missing") {
    const faulty = new Set(group.map((fault) => fault.block));
    const readings = blocks.flatMap(({ name, pair: { expected } }) =>
      faulty.has(name) && expected.block ? [expected.block.block.assumptions] : [],
    );
    // What is assumed is said together with the option that changes it.
    const assumed = readings.every((texts) => texts.some((text) => text.includes("--no-identity")));
    if (readings.length > 0 && assumed) return ASSUMED_IDENTITY;
  }
  return FILE_CAUSES[cause].fix;
}
