/** @file Damaged and hostile files: every limit, every cut, and random damage end in an error of ours. */

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  attribute,
  bytes,
  int,
  message,
  modelBytes,
  modelWith,
  node,
  type Part,
  packed,
  sub,
  tensor,
  text,
} from "../../../test/onnx-messages.ts";
import { memorySource } from "../../core/byte-source.ts";
import { isReparamError } from "../../core/errors.ts";
import { float32Tensor, lazyTensor } from "../../core/tensor.ts";
import { createGraphBuilder } from "../../ir/builder.ts";
import type { Graph } from "../../ir/graph.ts";
import { inferShapes } from "../../ir/infer-shapes.ts";
import type { OnnxLimits } from "./limits.ts";
import { readModel } from "./read-model.ts";
import { modelToBytes } from "./write-model.ts";

const x = sub(11, text(1, "x"));
const relu = node("Relu", ["x"], ["y"]);

function open(data: Uint8Array, limits?: Partial<OnnxLimits>): Promise<unknown> {
  return readModel(memorySource("m.onnx", data), { limits });
}

function nested(depth: number): Part {
  const inner = depth > 0 ? [nested(depth - 1)] : [];
  return node("If", ["x"], [`y${depth}`], attribute("body", 5, sub(6, ...inner)));
}

// Each limit is set low and hit by one more than it allows.
test.each<[keyof OnnxLimits, number, Uint8Array]>([
  ["nodes", 1, modelBytes(x, relu, node("Relu", ["x"], ["z"]))],
  ["initializers", 1, modelBytes(tensor("a", [0], 1), tensor("b", [0], 1))],
  ["valueInfos", 1, modelBytes(x, sub(13, text(1, "v")))],
  ["perNode", 1, modelBytes(x, node("Add", ["x", "x"], ["y"]))],
  ["perNode", 1, modelBytes(x, node("Split", ["x"], ["y", "z"]))],
  ["perNode", 1, modelBytes(x, node("Op", ["x"], ["y"], attribute("a", 1), attribute("b", 1)))],
  ["rank", 2, modelBytes(tensor("a", [0, 0, 0], 1))],
  ["rank", 2, modelBytes(sub(11, text(1, "x"), sub(2, sub(1, sub(2, sub(1), sub(1), sub(1))))))],
  ["graphDepth", 3, modelBytes(x, nested(2))],
  ["stringBytes", 4, modelBytes(x, node("Longer", ["x"], ["y"]))],
  [
    "fieldsPerMessage",
    8,
    modelBytes(x, node("Op", ["x"], ["y"], attribute("a", 7, packed(8, Array(9).fill(1))))),
  ],
  ["fieldsPerMessage", 8, modelBytes(x, node("Op", Array(9).fill("x"), ["y"]))],
  ["keptBytes", 8, modelWith([bytes(25, Array(9).fill(0))], [])],
  ["modelEntries", 1, modelWith([sub(14, text(1, "a")), sub(14, text(1, "b"))], [])],
  ["modelEntries", 1, modelWith([sub(8, text(1, "other"), int(2, 1))], [])],
])("limit %s = %i", async (limit, value, data) => {
  await expect(open(data)).resolves.toBeDefined();
  await expect(open(data, { [limit]: value })).rejects.toMatchObject({
    tag: "bad-data",
    message: expect.stringContaining(`expected at most ${value}`) as unknown,
  });
});

test("graphs nested beyond the limit are refused before the stack ends", async () => {
  await expect(open(modelBytes(x, nested(200)))).rejects.toThrow(
    "33 nested graphs, expected at most 32",
  );
});

const huge = [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // graph of 2^63 − 1 bytes

test.each<[string, Uint8Array, string]>([
  ["an empty file", new Uint8Array(0), "no graph found, expected an ONNX model"],
  ["text", Buffer.from("# not a model at all\n"), "m.onnx"],
  [
    "a length beyond the file",
    Uint8Array.of(0x3a, 0x05, 0x00),
    "ends at byte 7, expected at most 3",
  ],
  ["a length beyond 2^53", Uint8Array.from(huge), "ends at byte"],
  ["a varint without end", new Uint8Array(20).fill(0xff), "no valid field at byte 0"],
  ["a group", Uint8Array.of(0x0b, 0x0c), "wire type 3 at byte 0"],
  ["field number 0", Uint8Array.of(0x02, 0x00), "no valid field at byte 0"],
  ["a graph that is a number", message(int(7, 1)), "field 7 at byte 0 has wire type 0, expected 2"],
  ["two graphs", modelWith([sub(7)], []), "it holds two graphs"],
  ["a node without operator", modelBytes(sub(1, text(2, "y"))), "it has no operator"],
  [
    "an attribute without name",
    modelBytes(x, node("Relu", ["x"], ["y"], sub(5, int(20, 2)))),
    "has no name",
  ],
  [
    "an attribute twice",
    modelBytes(x, node("Op", ["x"], ["y"], attribute("a", 1), attribute("a", 1))),
    "attribute a is given twice",
  ],
  ["a name that is not UTF-8", modelBytes(bytes(2, [0xff])), "is not UTF-8"],
  ["a value nobody makes", modelBytes(relu), 'it reads "x", which nothing makes'],
  [
    "nodes out of order",
    modelBytes(x, node("Relu", ["y"], ["z"]), relu),
    "nodes must be in topological order",
  ],
  ["a value made twice", modelBytes(x, relu, relu), 'output "y" is already made elsewhere'],
  [
    "an output nobody makes",
    modelBytes(sub(12, text(1, "q"))),
    'graph output "q", which nothing makes',
  ],
  [
    "a domain that is not imported",
    modelBytes(x, node("Op", ["x"], ["y"], text(7, "other"))),
    'domain "other"',
  ],
])("%s is refused", async (_, data, text_) => {
  await expect(open(data)).rejects.toMatchObject({
    tag: "bad-data",
    message: expect.stringContaining(text_) as unknown,
  });
});

test.each([
  [8, 6, "opset 6, expected 7 to 22"],
  [8, 23, "opset 23, expected 7 to 22"],
  [2, 17, "IR version 2, expected 3 to 14"],
  [15, 17, "IR version 15, expected 3 to 14"],
])("IR version %i with opset %i is refused", async (ir, opset, text_) => {
  await expect(open(message(int(1, ir), sub(7), sub(8, int(2, opset))))).rejects.toThrow(text_);
});

test("a model that names no opset is refused", async () => {
  await expect(open(message(int(1, 8), sub(7)))).rejects.toThrow("does not say which version");
});

async function sampleBytes(): Promise<Uint8Array> {
  const body = createGraphBuilder({ name: "b" });
  body.output(body.node("Neg", ["x"], {}, "n"), "float32", [1]);
  const branch: Graph = body.buildGraph();
  const g = createGraphBuilder();
  const input = g.input("x", "float32", ["n", 1, 2, 2]);
  const w = g.initializer("w", lazyTensor(float32Tensor([1, 1, 1, 1], [2])));
  const conv = g.node("Conv", [input, w], {
    strides: [1, 1],
    pads: [0, 0, 0, 0],
    auto_pad: "NOTSET",
  });
  const c = g.node("Constant", [], { value: lazyTensor(float32Tensor([1], [1])) });
  const sum = g.node("Add", [conv, c], { alpha: { float: 0.5 } });
  g.output(g.node("If", [sum], { then_branch: branch }, "y"), "float32", ["n", 1, 2, 2]);
  return modelToBytes(g.build());
}

/** Reads everything there is to read; only errors of ours, and not "a bug of ours", may come out. */
async function surviveReading(data: Uint8Array): Promise<void> {
  try {
    const model = await readModel(memorySource("m.onnx", data));
    for (const lazy of model.graph.initializers.values()) await lazy.read();
    await inferShapes(model);
    await modelToBytes(model);
  } catch (error) {
    if (!isReparamError(error) || error.tag === "internal") throw error;
  }
}

test("a model cut at any byte is an error of ours or a smaller model", async () => {
  const whole = await sampleBytes();
  let refused = 0;
  for (let end = 0; end < whole.byteLength; end++) {
    await surviveReading(whole.subarray(0, end));
    await open(whole.subarray(0, end)).catch(() => refused++);
  }
  // The opset import is the last field: without it whole, nothing is a model.
  expect(refused).toBe(whole.byteLength);
});

test("random damage never gets past the checks", async () => {
  const whole = await sampleBytes();
  const place = fc.nat(whole.byteLength - 1);
  const damage = fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 4 });
  const cut = fc.option(fc.tuple(place, place), { freq: 3 });
  await fc.assert(
    fc.asyncProperty(damage, cut, async (changes, range) => {
      let data = Uint8Array.from(whole);
      for (const [at, value] of changes) data[at] = value;
      if (range) {
        const [from, to] = [Math.min(...range), Math.max(...range)];
        data = Uint8Array.from([...data.subarray(0, from), ...data.subarray(to)]);
      }
      await surviveReading(data);
    }),
    { numRuns: 3000, seed: 20260101 },
  );
});
