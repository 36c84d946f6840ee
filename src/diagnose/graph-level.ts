/**
 * @file Where two graphs differ although their weights agree: both are fused, their convolutions brought together in
 * order, and of each the window, the border, the activation and a squeeze-and-excitation behind it are compared.
 */

import type { Model } from "../ir/graph.ts";
import type { FileCauseId } from "./file-causes.ts";
import { finding } from "./file-level.ts";
import type { Finding } from "./finding.ts";
import { describeLayers, type Layer } from "./layers.ts";

export async function graphFindings(training: Model, deploy: Model): Promise<Finding[]> {
  const [expected, found] = [await describeLayers(training), await describeLayers(deploy)];
  const differences = new Map<string, { cause: FileCauseId; detail: string; layers: string[] }>();
  for (const [a, b] of alignLayers(expected, found)) {
    for (const { cause, detail } of differencesOf(a, b)) {
      const key = `${cause}|${detail}`;
      const known = differences.get(key);
      if (known) known.layers.push(b.name);
      else differences.set(key, { cause, detail, layers: [b.name] });
    }
  }
  const findings = [...differences.values()].map(({ cause, detail, layers }) =>
    finding(cause, detail, layers, { layers: layers.length }),
  );
  return [...findings, ...outputFindings(training, deploy)];
}

function differencesOf(a: Layer, b: Layer): { cause: FileCauseId; detail: string }[] {
  const found: { cause: FileCauseId; detail: string }[] = [];
  const compare = (
    cause: FileCauseId,
    what: string,
    x: readonly number[],
    y: readonly number[],
  ): void => {
    if (x.join() !== y.join())
      found.push({ cause, detail: `${what} ${y.join("×")}, expected ${x.join("×")}` });
  };
  compare("stride-differs", "stride", a.strides, b.strides);
  compare("dilation-differs", "dilation", a.dilations, b.dilations);
  compare("groups-differ", "groups", [a.group], [b.group]);
  if (a.pads.join() !== b.pads.join()) {
    found.push({
      cause: "pads-differ",
      detail: `pads [${b.pads.join(", ")}], expected [${a.pads.join(", ")}]`,
    });
  }
  if (a.border !== b.border) {
    found.push({
      cause: "padding-mode-differs",
      detail: `${b.border} padding, expected ${a.border}`,
    });
  }
  if (a.squeeze !== b.squeeze) {
    const missing = b.squeeze === "none";
    found.push(
      a.squeeze === "none"
        ? {
            cause: "graph-differs",
            detail: "squeeze-and-excitation that the training form does not have",
          }
        : {
            cause: missing ? "se-missing" : "se-misplaced",
            detail: missing
              ? `${a.squeeze} the activation in the training form`
              : `${b.squeeze} the activation, expected ${a.squeeze} it`,
          },
    );
  }
  if (a.activation !== b.activation) {
    const cause: FileCauseId =
      b.activation === ""
        ? "activation-missing"
        : a.activation === ""
          ? "activation-extra"
          : "activation-differs";
    found.push({ cause, detail: `${b.activation || "none"}, expected ${a.activation || "none"}` });
  }
  return found;
}

/** Layers of both graphs in order; where counts differ, by the longest common sequence of weight shapes. */
function alignLayers(a: readonly Layer[], b: readonly Layer[]): [Layer, Layer][] {
  const same = (x: Layer, y: Layer): boolean => x.kernel.join() === y.kernel.join();
  if (a.length === b.length) {
    return a.flatMap((layer, i): [Layer, Layer][] =>
      same(layer, b[i]!) || layer.outC === b[i]!.outC ? [[layer, b[i]!]] : [],
    );
  }
  const length = Array.from({ length: a.length + 1 }, () => new Int32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i]![j] = same(a[i]!, b[j]!)
        ? length[i + 1]![j + 1]! + 1
        : Math.max(length[i + 1]![j]!, length[i]![j + 1]!);
    }
  }
  const pairs: [Layer, Layer][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (same(a[i]!, b[j]!)) pairs.push([a[i++]!, b[j++]!]);
    else if (length[i + 1]![j]! >= length[i]![j + 1]!) i++;
    else j++;
  }
  return pairs;
}

function outputFindings(training: Model, deploy: Model): Finding[] {
  const [a, b] = [training, deploy].map((model) =>
    model.graph.outputs.map((output) => output.name),
  );
  if (a!.length !== b!.length || a!.join() === b!.join()) return [];
  if ([...a!].sort().join() !== [...b!].sort().join()) return [];
  return [finding("outputs-reordered", `${b!.join(", ")}; expected ${a!.join(", ")}`, b!)];
}
