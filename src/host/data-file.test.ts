import { expect, test } from "vitest";
import type { LazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { dataFileOf, needsDataFile } from "./data-file.ts";

/** A tensor of that many bytes which nobody reads. */
function unread(bytes: number): LazyTensor {
  const read = () => Promise.reject(new Error("a size needs no data"));
  return { dtype: "float32", shape: [bytes / 4], read };
}

test.each([
  // 2^31 − 2^24 bytes of weights leave 16 MiB for the rest of the file.
  [[2 ** 31 - 2 ** 24], false],
  [[2 ** 31 - 2 ** 24, 4], true],
  [[2 ** 30, 2 ** 30], true],
  [[], false],
])("weights of %j bytes: a data file is %s", (sizes, needed) => {
  const g = createGraphBuilder();
  for (const bytes of sizes) g.initializer("w", unread(bytes));
  expect(needsDataFile(g.build())).toBe(needed);
});

test("tensors of Constant nodes count, and a lower limit may be asked for", () => {
  const g = createGraphBuilder();
  g.initializer("w", unread(400));
  g.node("Constant", [], { value: unread(600) });
  // 400 + 600 bytes
  expect(needsDataFile(g.build(), 1000)).toBe(false);
  expect(needsDataFile(g.build(), 999)).toBe(true);
  // The format's own limit cannot be lifted.
  g.initializer("large", unread(2 ** 31));
  expect(needsDataFile(g.build(), 2 ** 40)).toBe(true);
});

test("the data file stands beside the model", () => {
  expect(dataFileOf("nets/a b.onnx")).toEqual({
    path: "nets/a b.onnx.data",
    location: "a b.onnx.data",
  });
});
