import { expect, test } from "vitest";
import { type AttributeInputs, createGraphBuilder } from "./builder.ts";
import { convAttributes, poolAttributes } from "./conv-attributes.ts";
import type { Node } from "./graph.ts";

function node(opType: string, attributes: AttributeInputs): Node {
  const g = createGraphBuilder();
  g.node(opType, [], attributes);
  return g.build().graph.nodes[0]!;
}

const conv = (attributes: AttributeInputs) =>
  convAttributes(node("Conv", attributes), [4, 2, 3, 5], "c");

test("the specification's defaults", () => {
  expect(conv({})).toEqual({
    kernelShape: [3, 5],
    strides: [1, 1],
    dilations: [1, 1],
    beginPads: [0, 0],
    endPads: [0, 0],
    autoPad: "NOTSET",
    group: 1,
  });
});

test("pads are all begins, then all ends", () => {
  const { beginPads, endPads } = conv({ pads: [1, 2, 3, 4] });
  expect([beginPads, endPads]).toEqual([
    [1, 2],
    [3, 4],
  ]);
});

test("VALID is no padding at all; SAME stays, because it depends on the input", () => {
  expect(conv({ auto_pad: "VALID", pads: [1, 1, 1, 1] })).toMatchObject({
    autoPad: "NOTSET",
    beginPads: [0, 0],
    endPads: [0, 0],
  });
  expect(conv({ auto_pad: "SAME_LOWER" }).autoPad).toBe("SAME_LOWER");
});

test.each<[AttributeInputs, string]>([
  [{ kernel_shape: [3, 3] }, "c: kernel_shape is [3, 3], expected [3, 5]"],
  [{ strides: [1] }, "c: strides is [1], expected 2 numbers of at least 1"],
  [{ strides: [1, 0] }, "c: strides is [1, 0]"],
  [{ pads: [-1, 0, 0, 0] }, "c: pads is [-1, 0, 0, 0]"],
  [{ group: 3 }, "c: group 3 does not divide the 4 output channels"],
  [{ auto_pad: "FULL" }, 'c: auto_pad is "FULL"'],
])("%j is refused", (attributes, message) => {
  expect(() => conv(attributes)).toThrow(message);
});

test("a pool needs its kernel shape", () => {
  expect(() => poolAttributes(node("MaxPool", {}), 2, "p")).toThrow(
    "p: kernel_shape has 0 entries",
  );
});
