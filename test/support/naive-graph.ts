/**
 * @file The slow, obvious meaning of a graph: every operator as nested loops over float64, straight from the ONNX
 * specification. Tests compare the engine against it; it shares no code with the engine.
 */

import { readFloat64 } from "../../src/core/tensor.ts";
import type { Graph, Node } from "../../src/ir/graph.ts";

export interface Dense {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export function dense(shape: readonly number[], at: (flat: number) => number): Dense {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float64Array.from({ length: size }, (_, i) => at(i)) };
}

/**
 * All values of a graph with up to three spatial axes for the given inputs. `PadSelf` continues a value by what it is
 * for an input of zeros, so it is right where the graph is one linear region.
 */
export async function evaluateNaive(
  graph: Graph,
  inputs: ReadonlyMap<string, Dense>,
): Promise<Map<string, Dense>> {
  if (!graph.nodes.some((node) => node.opType === "PadSelf")) return evaluate(graph, inputs);
  const zeros = [...inputs].map(([name, x]): [string, Dense] => [name, dense(x.shape, () => 0)]);
  return evaluate(graph, inputs, await evaluate(graph, new Map(zeros)));
}

async function evaluate(
  graph: Graph,
  inputs: ReadonlyMap<string, Dense>,
  atZero?: ReadonlyMap<string, Dense>,
): Promise<Map<string, Dense>> {
  const values = new Map<string, Dense>(inputs);
  for (const [name, tensor] of graph.initializers) {
    values.set(name, { shape: tensor.shape, data: await readFloat64(tensor) });
  }
  for (const node of graph.nodes) {
    const operands = node.inputs.map((name) => values.get(name));
    const results =
      node.opType === "PadSelf"
        ? [padSelf(node, operands[0]!, (atZero ?? values).get(node.inputs[0]!)!)]
        : await evaluateNode(node, operands);
    for (const [i, output] of node.outputs.entries()) {
      const result = results[i];
      if (result) values.set(output, result);
    }
  }
  return values;
}

/** The constant that the value is for an input of zeros continues it. */
function padSelf(node: Node, x: Dense, atZero: Dense): Dense {
  const attribute = node.attributes.get("pads");
  const pads = attribute?.type === "ints" ? attribute.value : [];
  const rank = pads.length / 2;
  const image = atZero.shape.slice(2).reduce((a, b) => a * b, 1);
  const full = [0, 0, ...pads.slice(0, rank), 0, 0, ...pads.slice(rank)];
  return padded(x, full, (channel) => atZero.data[channel * image]!);
}

async function evaluateNode(node: Node, x: readonly (Dense | undefined)[]): Promise<Dense[]> {
  const ints = (name: string, fallback: number[]): readonly number[] => {
    const attribute = node.attributes.get(name);
    return attribute?.type === "ints" ? attribute.value : fallback;
  };
  const int = (name: string, fallback: number): number => {
    const attribute = node.attributes.get(name);
    return attribute?.type === "int" ? attribute.value : fallback;
  };
  const first = x[0];
  const rank = (first?.shape.length ?? 2) - 2;
  const each = (name: string, value: number): readonly number[] =>
    ints(name, Array<number>(rank).fill(value));
  if (node.opType === "Constant") {
    const value = node.attributes.get("value");
    if (value?.type !== "tensor") throw new Error("naive: Constant without a tensor");
    return [{ shape: value.value.shape, data: await readFloat64(value.value) }];
  }
  if (!first) throw new Error(`naive: ${node.opType} without input`);
  switch (node.opType) {
    case "Conv":
      return [
        conv(first, x[1]!, x[2], {
          group: int("group", 1),
          strides: each("strides", 1),
          pads: ints("pads", Array<number>(2 * rank).fill(0)),
          dilations: each("dilations", 1),
        }),
      ];
    case "AveragePool": {
      const kernel = ints("kernel_shape", []);
      const channels = first.shape[1]!;
      const size = kernel.reduce((a, b) => a * b, 1);
      const weight = dense([channels, 1, ...kernel], () => 1 / size);
      return [
        conv(first, weight, undefined, {
          group: channels,
          strides: each("strides", 1),
          pads: ints("pads", Array<number>(2 * rank).fill(0)),
          dilations: each("dilations", 1),
        }),
      ];
    }
    case "Gemm": {
      if (int("transB", 0) !== 1) throw new Error("naive: Gemm without transB is not written");
      return [conv(first, x[1]!, x[2], { group: 1, strides: [], pads: [], dilations: [] })];
    }
    case "MatMul": {
      const [inner, outC] = x[1]!.shape as [number, number];
      const transposed = dense(
        [outC, inner],
        (i) => x[1]!.data[(i % inner) * outC + Math.floor(i / inner)]!,
      );
      return [
        conv(first, transposed, undefined, { group: 1, strides: [], pads: [], dilations: [] }),
      ];
    }

    case "BatchNormalization": {
      const epsilon = node.attributes.get("epsilon");
      const eps = epsilon?.type === "float" ? epsilon.value : 1e-5;
      const [, gamma, beta, mean, variance] = x;
      return [
        mapChannels(first, (value, c) => {
          const s = gamma!.data[c]! / Math.sqrt(variance!.data[c]! + eps);
          return (value - mean!.data[c]!) * s + beta!.data[c]!;
        }),
      ];
    }
    case "Add":
      return [broadcast(first, x[1]!, (a, b) => a + b)];
    case "Sub":
      return [broadcast(first, x[1]!, (a, b) => a - b)];
    case "Mul":
      return [broadcast(first, x[1]!, (a, b) => a * b)];
    case "Div":
      return [broadcast(first, x[1]!, (a, b) => a / b)];
    case "Sum":
      return [x.slice(1).reduce<Dense>((a, b) => broadcast(a, b!, (p, q) => p + q), first)];
    case "Neg":
      return [dense(first.shape, (i) => -first.data[i]!)];
    case "Relu":
      return [dense(first.shape, (i) => Math.max(0, first.data[i]!))];
    case "Cast":
    case "Identity":
    case "Dropout":
      return [first];
    case "Concat":
      return [concat(x as Dense[])];
    case "Split": {
      const sizes = x[1] ? [...x[1].data] : ints("split", []);
      let from = 0;
      return sizes.map((size) => {
        const part = channels(first, from, size);
        from += size;
        return part;
      });
    }
    case "Slice": {
      const listed = (name: string, i: number): readonly number[] =>
        x[i] ? [...x[i].data] : ints(name, []);
      const [starts, ends] = [listed("starts", 1), listed("ends", 2)];
      const axes =
        x[3] || node.attributes.has("axes") ? listed("axes", 3) : starts.map((_, i) => i);
      let result = first;
      if (x[4]?.data[0] === -1)
        return [
          concat([...Array(first.shape[1]).keys()].reverse().map((c) => cut(first, 1, c, c + 1))),
        ];
      for (const [i, axis] of axes.entries()) {
        const n = result.shape[axis]!;
        const start = starts[i]! < 0 ? starts[i]! + n : Math.min(starts[i]!, n);
        const end = ends[i]! < 0 ? ends[i]! + n : Math.min(ends[i]!, n);
        result = cut(result, axis, start, end);
      }
      return [result];
    }
    case "Gather": {
      const axis = int("axis", 0);
      const length = first.shape[axis]!;
      return [
        concat(
          [...x[1]!.data].map((i) =>
            cut(first, axis, i < 0 ? i + length : i, (i < 0 ? i + length : i) + 1),
          ),
        ),
      ];
    }
    case "Pad": {
      const pads = ints("pads", x[1] ? [...x[1].data] : []);
      return [padded(first, pads, () => x[2]?.data[0] ?? 0)];
    }
    default:
      throw new Error(`naive: operator ${node.opType} is not written`);
  }
}

interface Window {
  group: number;
  strides: readonly number[];
  pads: readonly number[];
  dilations: readonly number[];
}

/** Any number of spatial axes up to three: missing ones have length 1. */
function conv(x: Dense, w: Dense, bias: Dense | undefined, window: Window): Dense {
  const rank = x.shape.length - 2;
  const three = (values: readonly number[], fill: number): [number, number, number] => {
    const missing = Array<number>(3 - rank).fill(fill);
    return [...missing, ...values] as [number, number, number];
  };
  const [n, inC] = x.shape as [number, number];
  const [outC, perGroup] = w.shape as [number, number];
  const size = three(x.shape.slice(2), 1);
  const kernel = three(w.shape.slice(2), 1);
  const strides = three(window.strides, 1);
  const dilations = three(window.dilations, 1);
  const begin = three(window.pads.slice(0, rank), 0);
  const end = three(window.pads.slice(rank), 0);
  const out = size.map(
    (length, i) =>
      Math.floor(
        (length + begin[i]! + end[i]! - dilations[i]! * (kernel[i]! - 1) - 1) / strides[i]!,
      ) + 1,
  ) as [number, number, number];
  const y = dense([n, outC, ...out.slice(3 - rank)], () => 0);
  let at = 0;
  for (let b = 0; b < n; b++) {
    for (let o = 0; o < outC; o++) {
      const firstIn = Math.floor(o / (outC / window.group)) * perGroup;
      for (let i = 0; i < out[0]; i++) {
        for (let j = 0; j < out[1]; j++) {
          for (let k = 0; k < out[2]; k++, at++) {
            let sum = bias?.data[o] ?? 0;
            for (let u = 0; u < kernel[0]; u++) {
              const plane = i * strides[0] - begin[0] + u * dilations[0];
              if (plane < 0 || plane >= size[0]) continue;
              for (let v = 0; v < kernel[1]; v++) {
                const row = j * strides[1] - begin[1] + v * dilations[1];
                if (row < 0 || row >= size[1]) continue;
                for (let t = 0; t < kernel[2]; t++) {
                  const column = k * strides[2] - begin[2] + t * dilations[2];
                  if (column < 0 || column >= size[2]) continue;
                  for (let c = 0; c < perGroup; c++) {
                    const channel = b * inC + firstIn + c;
                    const pixel = ((channel * size[0] + plane) * size[1] + row) * size[2] + column;
                    const tap =
                      (((o * perGroup + c) * kernel[0] + u) * kernel[1] + v) * kernel[2] + t;
                    sum += w.data[tap]! * x.data[pixel]!;
                  }
                }
              }
            }
            y.data[at] = sum;
          }
        }
      }
    }
  }
  return y;
}

function mapChannels(x: Dense, f: (value: number, channel: number) => number): Dense {
  const image = x.shape.slice(2).reduce((a, b) => a * b, 1);
  return dense(x.shape, (i) => f(x.data[i]!, Math.floor(i / image) % x.shape[1]!));
}

function broadcast(a: Dense, b: Dense, f: (a: number, b: number) => number): Dense {
  const rank = Math.max(a.shape.length, b.shape.length);
  const full = (d: Dense): number[] => [
    ...Array<number>(rank - d.shape.length).fill(1),
    ...d.shape,
  ];
  const [sa, sb] = [full(a), full(b)];
  const shape = sa.map((n, i) => {
    if (n !== sb[i] && n !== 1 && sb[i] !== 1) throw new Error("naive: shapes do not broadcast");
    return Math.max(n, sb[i]!);
  });
  const index = (flat: number, from: number[]): number => {
    let rest = flat;
    let [at, step] = [0, 1];
    for (let i = rank - 1; i >= 0; i--) {
      const coordinate = rest % shape[i]!;
      rest = Math.floor(rest / shape[i]!);
      if (from[i] !== 1) at += coordinate * step;
      step *= from[i]!;
    }
    return at;
  };
  return dense(shape, (i) => f(a.data[index(i, sa)]!, b.data[index(i, sb)]!));
}

function concat(parts: readonly Dense[]): Dense {
  const [n, , ...spatial] = parts[0]!.shape as [number, number, ...number[]];
  const image = spatial.reduce((a, b) => a * b, 1);
  const outC = parts.reduce((sum, part) => sum + part.shape[1]!, 0);
  const y = dense([n, outC, ...spatial], () => 0);
  let at = 0;
  for (let b = 0; b < n; b++) {
    for (const part of parts) {
      const size = part.shape[1]! * image;
      y.data.set(part.data.subarray(b * size, (b + 1) * size), at);
      at += size;
    }
  }
  return y;
}

function cut(x: Dense, axis: number, start: number, end: number): Dense {
  const shape = x.shape.map((n, i) => (i === axis ? Math.max(end - start, 0) : n));
  const inner = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  return dense(shape, (flat) => {
    const outer = Math.floor(flat / (shape[axis]! * inner));
    const along = Math.floor(flat / inner) % shape[axis]!;
    return x.data[(outer * x.shape[axis]! + along + start) * inner + (flat % inner)]!;
  });
}

function channels(x: Dense, from: number, count: number): Dense {
  return cut(x, 1, from, from + count);
}

/** `pads` for all axes, begins then ends; negative ones crop. */
export function padded(
  x: Dense,
  pads: readonly number[],
  fill: (channel: number) => number,
): Dense {
  const rank = x.shape.length;
  const shape = x.shape.map((n, i) => n + pads[i]! + pads[i + rank]!);
  const image = shape.slice(2).reduce((a, b) => a * b, 1);
  return dense(shape, (flat) => {
    let rest = flat;
    let [from, step] = [0, 1];
    let outside = false;
    for (let i = rank - 1; i >= 0; i--) {
      const at = (rest % shape[i]!) - pads[i]!;
      rest = Math.floor(rest / shape[i]!);
      outside ||= at < 0 || at >= x.shape[i]!;
      from += at * step;
      step *= x.shape[i]!;
    }
    return outside ? fill(Math.floor(flat / image) % shape[1]!) : x.data[from]!;
  });
}
