/** @file An ambiguous file, with the choices that would settle it. */

import { ReparamError } from "../../../src/core/errors.ts";
import type { Choice } from "./protocol.ts";

export class AmbiguousError extends ReparamError {
  readonly choice: Choice;

  constructor(cause: ReparamError, choice: Choice) {
    const { where, what } = cause;
    super("ambiguous", { where, what, cause });
    this.choice = choice;
  }
}
