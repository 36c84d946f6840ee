/** @file Exit codes: one table for verdicts and errors. */

import type { ErrorTag } from "../core/errors.ts";
import type { VerdictWord } from "../verify/verdict.ts";

/** What the process exits with after a verdict. */
export const VERDICT_EXIT_CODES: Readonly<Record<VerdictWord, number>> = {
  "EXACT-FOLD": 0,
  "EQUAL-UP-TO-ROUNDING": 0,
  DIFFERENT: 1,
  "LOWER-PRECISION": 2,
  UNDECIDED: 3,
};

/**
 * What the process exits with after an error; numbers from 64 as in BSD's `sysexits.h`, 130 as shells report SIGINT.
 * A sound file for which there is no exact answer (`refused`) counts as data that cannot be used.
 */
export const ERROR_EXIT_CODES: Readonly<Record<ErrorTag, number>> = {
  usage: 64,
  ambiguous: 64,
  "bad-data": 65,
  refused: 65,
  "not-found": 66,
  "cannot-read": 66,
  internal: 70,
  "cannot-write": 73,
  aborted: 130,
};

/** Shown under every command's help. */
export const EXIT_CODE_HELP: string =
  "Exit codes: 0 exact or equal up to rounding, 1 different, 2 equal at lower\n" +
  "precision, 3 undecided, 64 usage, 65 bad data in a file, 66 no such file,\n" +
  "70 a bug of ours, 73 cannot write, 130 interrupted.";
