/** @file The net as a figure: what stands where. Drawn twice by the page, training form left and deploy form right. */

import { type Edge, Graph as LayoutGraph, layout } from "@dagrejs/dagre";
import { graphOf } from "../../../src/convert/graph-of.ts";
import { type InspectedBlock, inspectModel } from "../../../src/convert/inspect.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import { planReparam } from "../../../src/rewrite/plan.ts";
import { collapseGraph, convLabel, type DrawnGraph } from "./collapse-graph.ts";
import { openSubject, withFamilyChoice } from "./open-subject.ts";
import type { NetNode, NetView, Subject } from "./protocol.ts";

/** More than this is no figure any more, and laying it out takes seconds. */
const MAX_DRAWN = 400;

const ROW_HEIGHT = 26;
const ROW_GAP = 14;
const LEAST_WIDTH = 120;
/** Sans-serif at 11 px. */
const CHARACTER_WIDTH = 6.6;
const PADDING = 18;
/** Characters of one branch. */
const MAX_LANE = 14;
const LANE_PADDING = 20;

export async function drawNet(subject: Subject, task: TaskOptions): Promise<NetView> {
  const file = await openSubject(subject);
  const { blocks } = await withFamilyChoice(file, () => inspectModel(file, task));
  const model = graphOf(file);
  if (!model) return chain(blocks);
  const graph = collapseGraph(model.graph, await planReparam(model, task));
  return graph.nodes.length > MAX_DRAWN
    ? chain(blocks)
    : arrange(graph, blocks, file.kind === "onnx");
}

function arrange(graph: DrawnGraph, blocks: readonly InspectedBlock[], isModel: boolean): NetView {
  const blockOf = blockFinder(blocks);
  const drawn = new LayoutGraph();
  drawn.setGraph({ rankdir: "TB", nodesep: 16, ranksep: ROW_GAP, marginx: 1, marginy: 1 });
  drawn.setDefaultEdgeLabel(() => ({}));
  const found = graph.nodes.map((node) => (isModel ? node.region : blockOf(node.name)));
  const lanes = found.map((block) => (block === undefined ? [] : shortBranches(blocks[block]!)));
  for (const { id, label, kind } of graph.nodes) {
    // An end has no box to keep clear of.
    const width = kind === "end" ? label.length * CHARACTER_WIDTH : widthOf(label, lanes[id]!);
    drawn.setNode(String(id), { width, height: ROW_HEIGHT });
  }
  for (const [from, to] of graph.edges) drawn.setEdge(String(from), String(to));
  layout(drawn);
  const nodes = graph.nodes.map(({ id, kind, label, name }): NetNode => {
    const place = drawn.node(String(id)) as { x: number; y: number; width: number };
    return {
      kind,
      label,
      name: found[id] === undefined ? name : blocks[found[id]]!.name,
      lanes: lanes[id]!,
      block: found[id],
      x: place.x - place.width / 2,
      y: place.y - ROW_HEIGHT / 2,
      width: place.width,
    };
  });
  const edges = drawn.edges().map((edge: Edge) => {
    const { points } = drawn.edge(edge) as { points: { x: number; y: number }[] };
    return points.map(({ x, y }) => [x, y] as const);
  });
  const { width = 0, height = 0 } = drawn.graph() as { width?: number; height?: number };
  return { nodes, edges, width, height, rowHeight: ROW_HEIGHT, connected: true, hidden: 0 };
}

/** Blocks alone, in file order: how they are connected is not known, or too much to draw. */
function chain(blocks: readonly InspectedBlock[]): NetView {
  const shown = blocks.slice(0, MAX_DRAWN);
  const labels = shown.map(({ weightShape, stride = 1, group = 1 }) =>
    convLabel(weightShape, stride, group),
  );
  const widths = shown.map((block, i) => widthOf(labels[i]!, shortBranches(block)));
  const width = Math.max(LEAST_WIDTH, ...widths);
  let y = 0;
  const nodes = shown.map((block, i): NetNode => {
    const newStage = i > 0 && stageOf(block.name) !== stageOf(shown[i - 1]!.name);
    y += i === 0 ? 0 : ROW_HEIGHT + (newStage ? ROW_GAP * 1.5 : ROW_GAP / 2);
    return {
      kind: "block",
      label: labels[i]!,
      name: block.name,
      lanes: shortBranches(block),
      block: i,
      x: (width - widths[i]!) / 2,
      y,
      width: widths[i]!,
    };
  });
  return {
    nodes,
    edges: [],
    width,
    height: y + ROW_HEIGHT,
    rowHeight: ROW_HEIGHT,
    connected: false,
    hidden: blocks.length - shown.length,
  };
}

/** `stage2.3` → `stage2` */
function stageOf(name: string): string {
  return name.split(".").slice(0, -1).join(".");
}

/** `3×3 in 2 groups+bn` → `3×3`; a lone normalization is the identity branch. The block's own view says the rest. */
function shortBranches({ branches }: InspectedBlock): string[] {
  return branches.map((branch) => {
    const words = branch
      .replaceAll(/ in \d+ groups?| depthwise/g, "")
      .replaceAll("average", "avg")
      .split("+")
      .filter((word) => word !== "bn" && word !== "pad")
      .join("+");
    if (words === "" || words === "identity") return "id";
    return words.length > MAX_LANE ? `${words.slice(0, MAX_LANE - 1)}…` : words;
  });
}

function widthOf(label: string, lanes: readonly string[]): number {
  const left = lanes.reduce((sum, lane) => sum + lane.length * CHARACTER_WIDTH + LANE_PADDING, 0);
  return Math.max(LEAST_WIDTH, left, label.length * CHARACTER_WIDTH + PADDING);
}

/** The longest block name that a node's name begins with. */
function blockFinder(blocks: readonly InspectedBlock[]): (name: string) => number | undefined {
  const places = new Map(blocks.map(({ name }, i) => [name, i]));
  return (name) => {
    for (let at = name; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf(".")))) {
      const place = places.get(at);
      if (place !== undefined) return place;
    }
    return undefined;
  };
}
