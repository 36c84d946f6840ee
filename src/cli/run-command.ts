/**
 * @file What every command's action runs in: results on standard output, progress and errors on standard error, Ctrl-C
 * as an `AbortSignal`, errors as one line and an exit code.
 */

import { styleText } from "node:util";
import { isReparamError, ReparamError } from "../core/errors.ts";
import type { Progress } from "../core/task.ts";
import { PLAIN, type Style } from "../report/style.ts";
import { ERROR_EXIT_CODES } from "./exit-codes.ts";
import { createProgressLine } from "./progress-line.ts";

export interface CommandContext {
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  /** Whether `--json` was given: one JSON document is then all that standard output gets. */
  readonly json: boolean;
  /** Colours where standard output is a terminal and `NO_COLOR` is not set. */
  readonly style: Style;
  /** Lines of text; nothing under `--json`. */
  print(lines: readonly string[]): void;
  /** The JSON document; nothing without `--json`. */
  printJson(document: object): void;
  /** For long-lived commands: lines on standard error, whatever `--json` says. */
  note(line: string): void;
}

/**
 * Runs `action`, which returns the exit code. Call it from a commander action:
 * `.action((file, options) => runCommand(options, async (context) => …))`.
 */
export async function runCommand(
  options: { readonly json?: boolean | undefined },
  action: (context: CommandContext) => Promise<number>,
): Promise<void> {
  const json = options.json ?? false;
  const controller = new AbortController();
  const interrupt = (): void => {
    // The second Ctrl-C does not wait for the work to notice; temporary files go on exit.
    if (controller.signal.aborted) process.exit(ERROR_EXIT_CODES.aborted);
    controller.abort();
  };
  process.on("SIGINT", interrupt);
  ignoreClosedPipe();
  const progress = createProgressLine(process.stderr);
  const write = (text: string): void => {
    progress.clear();
    process.stdout.write(`${text}\n`);
  };
  try {
    process.exitCode = await action({
      json,
      style: terminalStyle(process.stdout),
      signal: controller.signal,
      onProgress: progress.update,
      print: (lines) => {
        if (!json) write(lines.join("\n"));
      },
      printJson: (document) => {
        if (json) write(JSON.stringify(document, jsonNumber, 2));
      },
      note: (line) => {
        progress.clear();
        process.stderr.write(`${line}\n`);
      },
    });
  } catch (error) {
    progress.clear();
    process.exitCode = reportError(error, json);
  } finally {
    progress.clear();
    process.off("SIGINT", interrupt);
  }
}

/** JSON has no NaN and no infinities; they are written as strings. Byte and number arrays become plain arrays. */
export function jsonNumber(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  return value;
}

/** Prints one line on standard error (and a document on standard output under `--json`); returns the exit code. */
export function reportError(error: unknown, json = false): number {
  const known = isReparamError(error) ? error : unexpected(error);
  const exitCode = ERROR_EXIT_CODES[known.tag];
  if (json) {
    const { tag, where, what, fix } = known;
    const document = { schema: "reparam.error/1", tag, where, what, fix: fix ?? null, exitCode };
    process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  }
  const label = terminalStyle(process.stderr).bad("error:");
  // A file name may hold anything; control characters do not reach the terminal.
  process.stderr.write(`${label} ${printable(known.message)}\n`);
  if (known.tag === "internal" && process.env["REPARAM_DEBUG"] === "1") {
    process.stderr.write(`${(known.cause instanceof Error ? known.cause : known).stack ?? ""}\n`);
  } else if (known.tag === "internal") {
    process.stderr.write("Set REPARAM_DEBUG=1 to see where it happened.\n");
  }
  return exitCode;
}

function unexpected(error: unknown): ReparamError {
  const what = error instanceof Error ? error.message : String(error);
  return new ReparamError("internal", {
    where: "reparam",
    what: what.replace(/\.$/, ""),
    fix: "Please report this",
    cause: error,
  });
}

/** Without control characters and line breaks. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}

/** Emphasis by escape codes where `stream` is a terminal that wants them (NO_COLOR, see no-color.org). */
function terminalStyle(stream: NodeJS.WriteStream): Style {
  const wanted = stream.isTTY && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb";
  if (!wanted) return PLAIN;
  return {
    bold: (text) => styleText("bold", text),
    dim: (text) => styleText("dim", text),
    good: (text) => styleText(["bold", "green"], text),
    warn: (text) => styleText(["bold", "yellow"], text),
    bad: (text) => styleText(["bold", "red"], text),
  };
}

let ignoring = false;

/** `reparam inspect … | head` ends quietly: nobody reads the rest. */
function ignoreClosedPipe(): void {
  if (ignoring) return;
  ignoring = true;
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit(process.exitCode ?? 0);
    });
  }
}
