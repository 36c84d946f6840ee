/** @file The numbers of a kernel that is fused on demand. What is wrong with the stored ones is said with their file's name. */

import type { Affine } from "../algebra/affine.ts";
import { type Emission, emittedRows } from "../algebra/emit.ts";
import { prepareRows } from "../algebra/prepare-rows.ts";
import { namingFile } from "../core/errors.ts";
import type { Kernel } from "./kernel.ts";

/** How `affine` is read as the convolution `emission`; its parameters stand in the file called `file`. */
export function fusedNumbers(
  file: string,
  affine: Affine,
  emission: Emission,
): Pick<Kernel, "rows" | "prepare" | "biases"> {
  return {
    rows: (begin, end, bounds) =>
      namingFile(file, emittedRows(affine, emission, begin, end, bounds)),
    prepare: async (begin, end, memory) => {
      const rows = await namingFile(file, prepareRows(affine, emission, begin, end, { memory }));
      return { ...rows, assertStoredFinite: () => namingFile(file, rows.assertStoredFinite()) };
    },
    biases: () => namingFile(file, affine.biases()),
  };
}
