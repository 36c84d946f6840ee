/** @file The whole networks beside weights that were compared already: a bonus, where they can be run. */

import type { ModelFile } from "../convert/open.ts";
import { isReparamError } from "../core/errors.ts";
import { type Verification, type VerifyOptions, verify } from "../verify/verify.ts";

/** `weights` with both networks run, or with the reason why they could not be. */
export async function verifyWhole(
  weights: Verification,
  training: ModelFile,
  deploy: ModelFile,
  options: VerifyOptions,
): Promise<Verification> {
  try {
    return await verify(training, deploy, options);
  } catch (error) {
    // An operator that cannot be run in float64, or an input that cannot be made up, takes nothing from the proof.
    if (!isReparamError(error, "refused") && !isReparamError(error, "usage")) throw error;
    return { ...weights, wholeSkipped: `${error.where}: ${error.what}` };
  }
}
