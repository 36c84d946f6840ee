import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { assertCheckpointKeys, isCheckpointKey } from "./training-net.ts";

/** One convolution under a weight of this name, and a limit that is no module's. */
function netWith(weightName: string): Model {
  const g = createGraphBuilder({ opset: 17, name: "net" });
  const x = g.input("x", "float32", ["n", 1, 4, 4]);
  const weight = g.initializer(weightName, lazyTensor(float32Tensor([1, 1, 1, 1], [1])));
  const limit = g.initializer("/Constant_output_0", lazyTensor(float32Tensor([], [6])));
  g.output(g.node("Min", [g.node("Conv", [x, weight], {}, "conv"), limit], {}, "y"), "float32", []);
  return g.build();
}

test("a graph whose weights kept their names can become a checkpoint, whatever its constants are called", () => {
  expect(() => assertCheckpointKeys(netWith("stem.conv.weight"), "out.pth")).not.toThrow();
  expect(isCheckpointKey("/Constant_output_0")).toBe(false);
});

test.each(["onnx::Conv_12", "/stem/conv/weight", "stem..weight", "0weight"])(
  "a weight called %s is refused by that name",
  (name) => {
    expect(() => assertCheckpointKeys(netWith(name), "out.pth")).toThrow(
      `out.pth: the ONNX model's weight "${name}" has no name`,
    );
  },
);
