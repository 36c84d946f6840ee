/** @file Reads a training log piece by piece: a long run's file need not fit in memory. */

import { throwIfAborted } from "../../../src/core/errors.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import {
  type CurveView,
  createCurve,
  MAX_LINE_CHARACTERS,
} from "../../../src/report/html/curve-view.ts";

export async function readCurve(
  file: File,
  { signal, onProgress }: TaskOptions,
): Promise<CurveView> {
  const curve = createCurve(file.name);
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let done = 0;
  for (;;) {
    throwIfAborted(signal);
    const piece = await reader.read();
    if (piece.done) break;
    done += piece.value.length;
    onProgress?.({ label: file.name, done, total: file.size });
    const lines = (rest + piece.value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) curve.addLine(line);
    // A line that long is refused as soon as it is known to be, not when the file ends.
    if (rest.length > MAX_LINE_CHARACTERS) curve.addLine(rest);
  }
  curve.addLine(rest);
  return curve.finish();
}
