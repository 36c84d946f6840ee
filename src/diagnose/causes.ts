/**
 * @file Every cause a diagnosis can name. The id is stable: code, JSON and docs/causes.md (one heading per id) use it.
 */

import { type CauseRow, FILE_CAUSES, type FileCauseId } from "./file-causes.ts";
import { GOLDEN_CAUSES, type GoldenCauseId } from "./golden-causes.ts";

export type { CauseRow } from "./file-causes.ts";

export type CauseId = FileCauseId | GoldenCauseId;

export const CAUSES: Readonly<Record<CauseId, CauseRow>> = { ...FILE_CAUSES, ...GOLDEN_CAUSES };

export const CAUSE_IDS: readonly CauseId[] = Object.keys(CAUSES) as CauseId[];
