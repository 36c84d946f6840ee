/** @file The document of `reparam insert --json`. See docs/insert.md. */

import type { InsertionResult } from "./insertion-result.ts";
import { verificationPart } from "./verification-json.ts";

export function insertionJson(result: InsertionResult): object {
  const { verification, family, fresh, ...rest } = result;
  return {
    schema: "reparam.insert/1",
    ...rest,
    blocks: rest.blocks.map((block) => ({ ...block, batchNorm: block.batchNorm ?? null })),
    fresh: fresh ?? null,
    family: family ?? null,
    verification: verification ? verificationPart(verification) : null,
  };
}
