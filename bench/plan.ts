/**
 * @file Planning time against graph size: `npx tsx bench/plan.ts`. Time per node has to stay flat from 100 to 10 000
 * nodes, for multi-branch nets and for graphs made to be hard (purely linear, one value read by all).
 */

import { float32Tensor, lazyTensor } from "../src/core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "../src/ir/builder.ts";
import type { Model } from "../src/ir/graph.ts";
import { planReparam } from "../src/rewrite/plan.ts";

const CHANNELS = 4;

function constant(g: GraphBuilder, shape: readonly number[]): string {
  const count = shape.reduce((a, b) => a * b, 1);
  return g.initializer("c", lazyTensor(float32Tensor(shape, Array<number>(count).fill(1))));
}

function conv(g: GraphBuilder, x: string, kernel: number): string {
  const pad = (kernel - 1) / 2;
  const weight = constant(g, [CHANNELS, CHANNELS, kernel, kernel]);
  return g.node("Conv", [x, weight], { pads: [pad, pad, pad, pad] });
}

function norm(g: GraphBuilder, x: string): string {
  const statistics = Array.from({ length: 4 }, () => constant(g, [CHANNELS]));
  return g.node("BatchNormalization", [x, ...statistics]);
}

/** Draws until `nodes` nodes are there, each step on the last value. */
function net(
  nodes: number,
  step: (g: GraphBuilder, x: string) => readonly [string, number],
): Model {
  const g = createGraphBuilder();
  let value = g.input("x", "float32", ["batch", CHANNELS, "h", "w"]);
  for (let drawn = 0; drawn < nodes; ) {
    const [next, count] = step(g, value);
    value = next;
    drawn += count;
  }
  g.output(value, "float32", undefined);
  return g.build();
}

const GRAPHS: Readonly<Record<string, (nodes: number) => Model>> = {
  "RepVGG blocks": (nodes) =>
    net(nodes, (g, x) => {
      const branches = [norm(g, conv(g, x, 3)), norm(g, conv(g, x, 1)), norm(g, x)];
      const sum = g.node("Add", [g.node("Add", branches.slice(0, 2)), branches[2]!]);
      return [g.node("Relu", [sum]), 8];
    }),
  "linear chain": (nodes) => net(nodes, (g, x) => [conv(g, x, 1), 1]),
  "unpadded linear chain, each fusion costlier": (nodes) =>
    net(nodes, (g, x) => {
      const weight = constant(g, [CHANNELS, CHANNELS, 3, 3]);
      return [g.node("Conv", [x, weight]), 1];
    }),
  "one value read by all": (nodes) => {
    const g = createGraphBuilder();
    const x = g.input("x", "float32", ["batch", CHANNELS, "h", "w"]);
    for (let i = 0; i < nodes / 2; i++)
      g.output(g.node("Relu", [conv(g, x, 1)]), "float32", undefined);
    return g.build();
  },
};

const SIZES = [100, 300, 1000, 3000, 10_000];

async function planMs(model: Model): Promise<number> {
  const start = performance.now();
  await planReparam(model);
  return performance.now() - start;
}

for (const [name, make] of Object.entries(GRAPHS)) {
  // Once unmeasured, so that compiling does not count.
  await planMs(make(1000));
  console.log(name);
  for (const nodes of SIZES) {
    const model = make(nodes);
    const runs: number[] = [];
    for (let run = 0; run < 3; run++) runs.push(await planMs(model));
    const best = Math.min(...runs);
    const perNode = best / model.graph.nodes.length;
    console.log(
      `  ${String(model.graph.nodes.length).padStart(6)} nodes  ${best.toFixed(1).padStart(8)} ms  ${perNode.toFixed(4)} ms per node`,
    );
  }
}
