/**
 * @file Every built-in family: a block written down as what it computes, with random weights, against what the row and
 * the engine make of its keys. Borders included; everything in float64.
 */

import { describe, expect, test } from "vitest";
import { emission, emittedRows } from "../src/algebra/emit.ts";
import { interpretRegion } from "../src/rewrite/interpret.ts";
import { compileBlock } from "../src/zoo/compile-block.ts";
import { FAMILIES } from "../src/zoo/families/index.ts";
import { recognize } from "../src/zoo/recognize.ts";
import {
  add,
  type ConvOptions,
  concat,
  convolve,
  createWeights,
  type Image,
  mapChannels,
  padWith,
  randomImage,
  type Weights,
} from "./support/forward.ts";

interface Formula {
  readonly family: string;
  readonly name: string;
  readonly inC: number;
  readonly prefix?: string;
  /** Further tensors that the checkpoint holds. */
  readonly deploy: readonly [weight: string, bias: string];
  forward(w: Weights, x: Image): Image;
}

function convBn(w: Weights, x: Image, conv: string, bn: string, options: ConvOptions): Image {
  return w.bn(w.conv(x, conv, options), bn);
}

/** Dense, pointwise and (if the channels agree) identity branch. */
function threeBranches(
  w: Weights,
  x: Image,
  names: readonly [dense: string, denseBn: string, one: string, oneBn: string, identity: string],
  out: number,
  groups = 1,
): Image {
  const [dense, denseBn, one, oneBn, identity] = names;
  const parts = [
    convBn(w, x, dense, denseBn, { out, groups }),
    convBn(w, x, one, oneBn, { out, groups, kernel: 1 }),
  ];
  if (out === x.channels) parts.push(w.bn(x, identity));
  return add(...parts);
}

const REPVGG = [
  "rbr_dense.conv",
  "rbr_dense.bn",
  "rbr_1x1.conv",
  "rbr_1x1.bn",
  "rbr_identity",
] as const;
const REPARAM = ["rbr_reparam.weight", "rbr_reparam.bias"] as const;
const REPARAM_CONV = ["reparam_conv.weight", "reparam_conv.bias"] as const;
const IN_PLACE = ["weight", "bias"] as const;

/** MobileOne's n branches, pointwise and identity. */
function manyBranches(
  w: Weights,
  x: Image,
  names: readonly [list: string, one: string, identity: string, bn: string],
  out: number,
  groups: number,
): Image {
  const [list, one, identity, bn] = names;
  const parts = [0, 1, 2].map((n) =>
    convBn(w, x, `${list}.${n}.conv`, `${list}.${n}.${bn}`, { out, groups }),
  );
  parts.push(convBn(w, x, `${one}.conv`, `${one}.${bn}`, { out, groups, kernel: 1 }));
  if (out === x.channels) parts.push(w.bn(x, identity));
  return add(...parts);
}

function times(x: Image, factor: Float64Array): Image {
  return mapChannels(x, (value, c) => value * (factor.length === 1 ? factor[0]! : factor[c]!));
}

/** A token mixer of MobileOne's branches less a batch norm, scaled and added to the input. */
function repMixer(
  w: Weights,
  x: Image,
  names: Parameters<typeof manyBranches>[2],
  normName: string,
  scale: string,
): Image {
  const mixer = manyBranches(w, x, names, 4, 4);
  const norm = mapChannels(w.bn(x, normName), (value) => -value);
  return add(x, times(add(mixer, norm), w.tensor(scale, [4, 1, 1])));
}

/** Average pooling with the padding counted. */
function average(x: Image, kernel: number, padding: number): Image {
  const weight = new Float64Array(x.channels * kernel * kernel).fill(1 / (kernel * kernel));
  return convolve(x, weight, undefined, { out: x.channels, kernel, groups: x.channels, padding });
}

/** BatchNorm of zero, which is what DBB pads with. */
function padWithBnOfZero(w: Weights, x: Image, bn: string): Image {
  const zero = w.bn(
    { channels: x.channels, height: 1, width: 1, data: new Float64Array(x.channels) },
    bn,
  );
  return padWith(x, 1, (c) => zero.data[c]!);
}

function dbb(w: Weights, x: Image, out: number, groups: number): Image {
  const pre = convBn(w, x, "dbb_avg.conv", "dbb_avg.bn.bn", { out, groups, kernel: 1 });
  const delta = w.tensor("dbb_1x1_kxk.idconv1.weight", [x.channels, x.channels / groups, 1, 1]);
  const inPerGroup = x.channels / groups;
  const whole = delta.map((value, i) => {
    const row = Math.floor(i / inPerGroup);
    return value + (i % inPerGroup === row % inPerGroup ? 1 : 0);
  });
  const first = w.bn(
    convolve(x, whole, undefined, { out: x.channels, groups, kernel: 1 }),
    "dbb_1x1_kxk.bn1.bn",
  );
  return add(
    convBn(w, x, "dbb_origin.conv", "dbb_origin.bn", { out, groups }),
    convBn(w, x, "dbb_1x1.conv", "dbb_1x1.bn", { out, groups, kernel: 1 }),
    w.bn(average(padWithBnOfZero(w, pre, "dbb_avg.bn.bn"), 3, 0), "dbb_avg.avgbn"),
    convBn(
      w,
      padWithBnOfZero(w, first, "dbb_1x1_kxk.bn1.bn"),
      "dbb_1x1_kxk.conv2",
      "dbb_1x1_kxk.bn2",
      {
        out,
        groups,
        padding: 0,
      },
    ),
  );
}

function acb(w: Weights, x: Image, out: number): Image {
  return add(
    convBn(w, x, "square_conv", "square_bn", { out }),
    convBn(w, x, "ver_conv", "ver_bn", { out, kernel: [3, 1] }),
    convBn(w, x, "hor_conv", "hor_bn", { out, kernel: [1, 3] }),
  );
}

function orepa(
  w: Weights,
  x: Image,
  at: string,
  tag: string,
  out: number,
  pointwise: boolean,
): Image {
  const c = x.channels;
  const t = (name: string, shape: number[]) => w.tensor(`${at}weight_${tag}_${name}`, shape);
  const rows = pointwise ? 6 : 5;
  const vector = w.tensor(`${at}vector`, [rows, out]);
  const row = (i: number) => vector.subarray(i * out, (i + 1) * out);
  const conv = (weight: Float64Array, options: ConvOptions) =>
    convolve(x, weight, undefined, options);
  const outer = (one: Float64Array, taps: (o: number, tap: number) => number) =>
    Float64Array.from({ length: out * c * 9 }, (_, i) => {
      const filter = Math.floor(i / 9);
      return one[filter]! * taps(Math.floor(filter / c), i % 9);
    });
  const avg = t("avg_avg", [3, 3]);
  const prior = t("prior", [out, 3, 3]);
  const id = w.tensor(`${at}id_tensor`, [c, c, 1, 1]);
  const first = t("1x1_kxk_idconv1", [c, c, 1, 1]).map((value, i) => value + id[i]!);
  const mid = conv(first, { out: c, kernel: 1 });
  const wide = conv(t("gconv_dw", [c * 2, 1, 3, 3]), { out: c * 2, groups: c });
  const parts = [
    times(conv(t("origin", [out, c, 3, 3]), { out }), row(0)),
    times(
      conv(
        outer(t("avg_conv", [out, c, 1, 1]), (_, tap) => avg[tap]!),
        { out },
      ),
      row(1),
    ),
    times(
      conv(
        outer(t("pfir_conv", [out, c, 1, 1]), (o, tap) => prior[o * 9 + tap]!),
        { out },
      ),
      row(2),
    ),
    times(convolve(mid, t("1x1_kxk_conv2", [out, c, 3, 3]), undefined, { out }), row(3)),
    times(
      convolve(wide, t("gconv_pw", [out, c * 2, 1, 1]), undefined, { out, kernel: 1 }),
      row(pointwise ? 5 : 4),
    ),
  ];
  if (pointwise) parts.push(times(conv(t("1x1", [out, c, 1, 1]), { out, kernel: 1 }), row(4)));
  return w.bn(add(...parts), `${at}bn`);
}

function expandReduce(w: Weights, x: Image, number: string, inner: boolean): Image {
  const wide = w.conv(x, `expand${number}_conv`, { out: 8, kernel: 1, bias: true });
  const own = w.tensor(`expand${number}_conv.bias`, [8]);
  const padded = padWith(wide, 1, (c) => own[c]!);
  const convolved = w.conv(padded, `fea${number}_conv`, { out: 8, padding: 0, bias: true });
  const through = inner ? add(convolved, wide) : convolved;
  return w.conv(through, `reduce${number}_conv`, { out: x.channels, kernel: 1, bias: true });
}

function mobileIe(w: Weights, x: Image, convs: readonly (readonly [string, ConvOptions])[]): Image {
  const plain = convs.map(([key, options]) => w.conv(x, key, { ...options, bias: true }));
  const normed = convs.map(([key], i) => w.bn(plain[i]!, `${key}_bn.0`));
  return w.conv(concat(...plain, ...normed), "conv_out", { out: 3, kernel: 1, bias: true });
}

const FORMULAS: readonly Formula[] = [
  ...(["repvgg", "yolov6"] as const).map((family) => ({
    family,
    name: `${family} with groups and identity`,
    inC: 6,
    deploy: REPARAM,
    forward: (w: Weights, x: Image) => threeBranches(w, x, REPVGG, 6, 2),
  })),
  ...(["repvggplus", "sixdrepnet", "efficientloftr"] as const).map((family) => ({
    family,
    name: `${family} without identity`,
    inC: 3,
    deploy: REPARAM,
    forward: (w: Weights, x: Image) => threeBranches(w, x, REPVGG, 5),
  })),
  {
    family: "zcls-repvgg",
    name: "zcls-repvgg",
    inC: 4,
    prefix: "0.0",
    deploy: IN_PLACE,
    forward: (w, x) => threeBranches(w, x, REPVGG, 4),
  },
  {
    family: "timm-repvgg",
    name: "timm-repvgg",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) =>
      threeBranches(
        w,
        x,
        ["conv_kxk.conv", "conv_kxk.bn", "conv_1x1.conv", "conv_1x1.bn", "identity"],
        4,
      ),
  },
  {
    family: "mmpretrain-repvgg",
    name: "mmpretrain-repvgg",
    inC: 4,
    deploy: ["branch_reparam.weight", "branch_reparam.bias"],
    forward: (w, x) =>
      threeBranches(
        w,
        x,
        ["branch_3x3.conv", "branch_3x3.norm", "branch_1x1.conv", "branch_1x1.norm", "branch_norm"],
        4,
      ),
  },
  {
    family: "yolov7",
    name: "yolov7 RepConv",
    inC: 4,
    deploy: REPARAM,
    forward: (w, x) =>
      threeBranches(
        w,
        x,
        ["rbr_dense.0", "rbr_dense.1", "rbr_1x1.0", "rbr_1x1.1", "rbr_identity"],
        4,
        2,
      ),
  },
  {
    family: "yolov7",
    name: "yolov7 implicit knowledge",
    inC: 4,
    prefix: "model.105",
    deploy: ["m.2.weight", "m.2.bias"],
    forward: (w, x) => {
      const before = w.tensor("ia.2.implicit", [1, 4, 1, 1]);
      const shifted = mapChannels(x, (value, c) => value + before[c]!);
      return times(
        w.conv(shifted, "m.2", { out: 6, kernel: 1, bias: true }),
        w.tensor("im.2.implicit", [1, 6, 1, 1]),
      );
    },
  },
  {
    family: "ultralytics",
    name: "ultralytics RepConv",
    inC: 4,
    deploy: ["conv.weight", "conv.bias"],
    forward: (w, x) =>
      threeBranches(w, x, ["conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn", "bn"], 4),
  },
  {
    family: "ultralytics",
    name: "ultralytics Conv2",
    inC: 4,
    deploy: ["conv.weight", "conv.bias"],
    forward: (w, x) =>
      w.bn(add(w.conv(x, "conv", { out: 5 }), w.conv(x, "cv2", { out: 5, kernel: 1 })), "bn"),
  },
  {
    family: "super-gradients",
    name: "super-gradients",
    inC: 4,
    deploy: REPARAM,
    forward: (w, x) =>
      add(
        convBn(w, x, "branch_3x3.conv", "branch_3x3.bn", { out: 4 }),
        times(
          convBn(w, x, "branch_1x1.conv", "branch_1x1.bn", { out: 4, kernel: 1 }),
          w.tensor("alpha", [1]),
        ),
        w.bn(x, "no_conv_branch"),
      ),
  },
  {
    family: "ppyoloe",
    name: "ppyoloe with Paddle's names",
    inC: 4,
    deploy: ["conv.weight", "conv.bias"],
    forward: (w, x) => {
      const paddle = { mean: "_mean", variance: "_variance" };
      return add(
        w.bn(w.conv(x, "conv1.conv", { out: 5 }), "conv1.bn", paddle),
        times(
          w.bn(w.conv(x, "conv2.conv", { out: 5, kernel: 1 }), "conv2.bn", paddle),
          w.tensor("alpha", [1]),
        ),
      );
    },
  },
  {
    family: "qarepvgg",
    name: "qarepvgg",
    inC: 4,
    deploy: REPARAM,
    forward: (w, x) =>
      add(
        convBn(w, x, "rbr_dense.conv", "rbr_dense.bn", { out: 4 }),
        w.conv(x, "rbr_1x1", { out: 4, kernel: 1 }),
        x,
      ),
  },
  {
    family: "qarepvgg-v2",
    name: "qarepvgg-v2",
    inC: 4,
    deploy: REPARAM,
    forward: (w, x) =>
      add(
        convBn(w, x, "rbr_dense.conv", "rbr_dense.bn", { out: 4 }),
        w.conv(x, "rbr_1x1", { out: 4, kernel: 1 }),
        x,
        average(x, 3, 1),
      ),
  },
  ...(["yolo-nas", "yolo-nas-partial"] as const).map((family) => ({
    family,
    name: family,
    inC: 4,
    deploy: REPARAM,
    forward: (w: Weights, x: Image) => {
      const sum = add(
        convBn(w, x, "branch_3x3.conv", "branch_3x3.bn", { out: 4 }),
        times(w.conv(x, "branch_1x1", { out: 4, kernel: 1, bias: true }), w.tensor("alpha", [1])),
        x,
      );
      const normed = w.bn(sum, "post_bn");
      return family === "yolo-nas" ? normed : sum;
    },
  })),
  {
    family: "mobileone",
    name: "mobileone depthwise",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) => manyBranches(w, x, ["rbr_conv", "rbr_scale", "rbr_skip", "bn"], 4, 4),
  },
  {
    family: "timm-mobileone",
    name: "timm-mobileone",
    inC: 3,
    deploy: REPARAM_CONV,
    forward: (w, x) => manyBranches(w, x, ["conv_kxk", "conv_scale", "identity", "bn"], 5, 1),
  },
  {
    family: "mmpretrain-mobileone",
    name: "mmpretrain-mobileone",
    inC: 4,
    deploy: ["branch_reparam.weight", "branch_reparam.bias"],
    forward: (w, x) =>
      manyBranches(w, x, ["branch_conv_list", "branch_scale", "branch_norm", "norm"], 4, 4),
  },
  {
    family: "pplcnetv3",
    name: "pplcnetv3",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) => {
      // The affine block stays behind the fused convolution.
      w.tensor("lab.scale", [1]);
      w.tensor("lab.bias", [1]);
      return manyBranches(w, x, ["conv_kxk", "conv_1x1", "identity", "bn"], 4, 1);
    },
  },
  {
    family: "acnet",
    name: "acnet",
    inC: 3,
    deploy: ["fused_conv.weight", "fused_conv.bias"],
    forward: (w, x) => acb(w, x, 4),
  },
  {
    family: "zcls-acb",
    name: "zcls-acb",
    inC: 3,
    prefix: "0",
    deploy: IN_PLACE,
    forward: (w, x) => acb(w, x, 4),
  },
  {
    family: "dbb",
    name: "dbb with groups",
    inC: 4,
    deploy: ["dbb_reparam.weight", "dbb_reparam.bias"],
    forward: (w, x) => dbb(w, x, 6, 2),
  },
  {
    family: "dbb",
    name: "dbb depthwise: two filters per channel between, the input averaged",
    inC: 4,
    deploy: ["dbb_reparam.weight", "dbb_reparam.bias"],
    forward: (w, x) => {
      const options = { out: 4, groups: 4 };
      const first = convBn(w, x, "dbb_1x1_kxk.conv1", "dbb_1x1_kxk.bn1.bn", {
        out: 8,
        groups: 4,
        kernel: 1,
      });
      const padded = padWithBnOfZero(w, first, "dbb_1x1_kxk.bn1.bn");
      return add(
        convBn(w, x, "dbb_origin.conv", "dbb_origin.bn", options),
        w.bn(average(x, 3, 1), "dbb_avg.avgbn"),
        convBn(w, padded, "dbb_1x1_kxk.conv2", "dbb_1x1_kxk.bn2", { ...options, padding: 0 }),
      );
    },
  },
  {
    family: "unireplknet",
    name: "unireplknet linear layer: GRN's shift, BatchNorm and layer scale",
    inC: 6,
    deploy: ["pwconv2.0.weight", "pwconv2.0.bias"],
    forward: (w, x) => {
      const beta = w.tensor("act.1.beta", [1, 1, 1, 6]);
      const shifted = mapChannels(x, (value, c) => value + beta[c]!);
      const weight = w.tensor("pwconv2.0.weight", [3, 6]);
      const linear = convolve(shifted, weight, undefined, { out: 3, kernel: 1 });
      return times(w.bn(linear, "pwconv2.2"), w.tensor("gamma", [3]));
    },
  },
  {
    family: "zcls-dbb",
    name: "zcls-dbb",
    inC: 3,
    prefix: "0",
    deploy: IN_PLACE,
    forward: (w, x) => dbb(w, x, 4, 1),
  },
  {
    family: "replknet",
    name: "replknet",
    inC: 4,
    deploy: ["lkb_reparam.weight", "lkb_reparam.bias"],
    forward: (w, x) =>
      add(
        convBn(w, x, "lkb_origin.conv", "lkb_origin.bn", { out: 4, groups: 4, kernel: 7 }),
        convBn(w, x, "small_conv.conv", "small_conv.bn", { out: 4, groups: 4 }),
      ),
  },
  {
    family: "unireplknet",
    name: "unireplknet dilated branches and norm",
    inC: 3,
    deploy: ["dwconv.lk_origin.weight", "dwconv.lk_origin.bias"],
    forward: (w, x) => {
      const branch = (kernel: number, dilation: number) =>
        convBn(
          w,
          x,
          `dwconv.dil_conv_k${kernel}_${dilation}`,
          `dwconv.dil_bn_k${kernel}_${dilation}`,
          {
            out: 3,
            groups: 3,
            kernel,
            dilation,
          },
        );
      const large = convBn(w, x, "dwconv.lk_origin", "dwconv.origin_bn", {
        out: 3,
        groups: 3,
        kernel: 7,
      });
      return w.bn(add(large, branch(5, 1), branch(3, 2), branch(3, 3)), "norm");
    },
  },
  {
    family: "orepa",
    name: "orepa",
    inC: 3,
    deploy: ["orepa_reparam.weight", "orepa_reparam.bias"],
    forward: (w, x) => orepa(w, x, "", "orepa", 4, true),
  },
  {
    family: "orepa",
    name: "orepa in RepVGG form",
    inC: 4,
    deploy: REPARAM,
    forward: (w, x) =>
      add(
        orepa(w, x, "rbr_dense.", "rbr", 4, false),
        convBn(w, x, "rbr_1x1.conv", "rbr_1x1.bn", { out: 4, kernel: 1 }),
        w.bn(x, "rbr_identity"),
      ),
  },
  {
    family: "repvit",
    name: "repvit RepVGGDW",
    inC: 4,
    deploy: IN_PLACE,
    forward: (w, x) =>
      w.bn(
        add(
          convBn(w, x, "conv.c", "conv.bn", { out: 4, groups: 4 }),
          w.conv(x, "conv1", { out: 4, groups: 4, kernel: 1, bias: true }),
          x,
        ),
        "bn",
      ),
  },
  {
    family: "repvit",
    name: "repvit legacy RepVGGDW",
    inC: 4,
    deploy: IN_PLACE,
    forward: (w, x) =>
      add(
        convBn(w, x, "conv.c", "conv.bn", { out: 4, groups: 4 }),
        convBn(w, x, "conv1.c", "conv1.bn", { out: 4, groups: 4, kernel: 1 }),
        x,
      ),
  },
  {
    family: "fastvit",
    name: "fastvit RepMixer",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) =>
      repMixer(
        w,
        x,
        ["mixer.rbr_conv", "mixer.rbr_scale", "mixer.rbr_skip", "bn"],
        "norm.rbr_skip",
        "layer_scale",
      ),
  },
  {
    family: "timm-fastvit",
    name: "timm-fastvit RepMixer",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) =>
      repMixer(
        w,
        x,
        ["mixer.conv_kxk", "mixer.conv_scale", "mixer.identity", "bn"],
        "norm.identity",
        "layer_scale.gamma",
      ),
  },
  {
    family: "timm-fastvit",
    name: "timm-fastvit positional encoding",
    inC: 4,
    deploy: REPARAM_CONV,
    forward: (w, x) => add(w.conv(x, "pos_enc", { out: 4, groups: 4, kernel: 7, bias: true }), x),
  },
  {
    family: "repghost",
    name: "repghost",
    inC: 4,
    deploy: ["cheap_operation.weight", "cheap_operation.bias"],
    forward: (w, x) =>
      add(
        convBn(w, x, "cheap_operation.0", "cheap_operation.1", { out: 4, groups: 4 }),
        w.bn(x, "fusion_bn.0"),
      ),
  },
  {
    family: "ghostnetv3",
    name: "ghostnetv3 cheap operation",
    inC: 4,
    deploy: ["cheap_operation.0.weight", "cheap_operation.0.bias"],
    forward: (w, x) =>
      manyBranches(w, x, ["cheap_rpr_conv", "cheap_rpr_scale", "cheap_rpr_skip", "bn"], 4, 4),
  },
  {
    family: "ecbsr",
    name: "ecbsr",
    inC: 4,
    deploy: ["conv3x3.weight", "conv3x3.bias"],
    forward: (w, x) => {
      const first = (name: string, out: number) => {
        const bias = w.tensor(`conv1x1_${name}.b0`, [out]);
        const weight = w.tensor(`conv1x1_${name}.k0`, [out, 4, 1, 1]);
        return padWith(convolve(x, weight, bias, { out, kernel: 1 }), 1, (c) => bias[c]!);
      };
      const edge = (name: string) => {
        const scale = w.tensor(`conv1x1_${name}.scale`, [4, 1, 1, 1]);
        const mask = w.tensor(`conv1x1_${name}.mask`, [4, 1, 3, 3]);
        const weight = mask.map((value, i) => value * scale[Math.floor(i / 9)]!);
        const bias = w.tensor(`conv1x1_${name}.bias`, [4]);
        return convolve(first(name, 4), weight, bias, { out: 4, groups: 4, padding: 0 });
      };
      return add(
        w.conv(x, "conv3x3", { out: 4, bias: true }),
        convolve(
          first("3x3", 6),
          w.tensor("conv1x1_3x3.k1", [4, 6, 3, 3]),
          w.tensor("conv1x1_3x3.b1", [4]),
          { out: 4, padding: 0 },
        ),
        edge("sbx"),
        edge("sby"),
        edge("lpl"),
        x,
      );
    },
  },
  {
    family: "rt4ksr",
    name: "rt4ksr",
    inC: 4,
    deploy: ["rep_conv.weight", "rep_conv.bias"],
    forward: (w, x) => add(expandReduce(w, x, "", true), x),
  },
  {
    family: "rvsr",
    name: "rvsr",
    inC: 4,
    deploy: ["rep_conv.weight", "rep_conv.bias"],
    forward: (w, x) =>
      add(
        expandReduce(w, x, "", false),
        expandReduce(w, x, "1", false),
        w.conv(x, "res_conv3x3", { out: 4, bias: true }),
        w.conv(x, "res_conv1x1", { out: 4, kernel: 1, bias: true }),
        x,
      ),
  },
  {
    family: "mobileie",
    name: "mobileie MBRConv5",
    inC: 3,
    deploy: IN_PLACE,
    forward: (w, x) =>
      mobileIe(w, x, [
        ["conv", { out: 6, kernel: 5 }],
        ["conv1", { out: 6, kernel: 1 }],
        ["conv2", { out: 6 }],
        ["conv_crossh", { out: 6, kernel: [3, 1] }],
        ["conv_crossv", { out: 6, kernel: [1, 3] }],
      ]),
  },
  {
    family: "mobileie",
    name: "mobileie MBRConv3",
    inC: 3,
    deploy: IN_PLACE,
    forward: (w, x) =>
      mobileIe(w, x, [
        ["conv", { out: 6 }],
        ["conv1", { out: 6, kernel: 1 }],
        ["conv_crossh", { out: 6, kernel: [3, 1] }],
        ["conv_crossv", { out: 6, kernel: [1, 3] }],
      ]),
  },
  {
    family: "mobileie",
    name: "mobileie MBRConv1",
    inC: 3,
    deploy: IN_PLACE,
    forward: (w, x) => mobileIe(w, x, [["conv", { out: 6, kernel: 1 }]]),
  },
];

test("every built-in family has a formula here", () => {
  const covered = new Set(FORMULAS.map((formula) => formula.family));
  expect(FAMILIES.map((family) => family.name).filter((name) => !covered.has(name))).toEqual([]);
});

describe("the fused convolution is the block", () => {
  test.each(FORMULAS.map((formula, i) => [formula.name, formula, i] as const))(
    "%s",
    async (_, formula, i) => {
      const row = FAMILIES.find((family) => family.name === formula.family)!;
      const prefix = formula.prefix ?? "body.block";
      const weights = createWeights(7000 + i, prefix, row.epsilon);
      // 5 × 6: smaller than the largest kernel, so borders are all there is.
      const x = randomImage(9000 + i, formula.inC, 5, 6);
      const y = formula.forward(weights, x);
      const { matches, partFits } = recognize(weights.state, { family: formula.family });
      expect(partFits).toEqual([]);
      expect(matches.map((match) => [match.prefix, match.form])).toEqual([[prefix, "training"]]);
      const match = matches[0]!;
      expect([match.deployKeys.weight, match.deployKeys.bias]).toEqual(
        formula.deploy.map((key) => `${prefix}.${key}`),
      );
      const block = compileBlock(match, weights.state);
      expect(block.outChannels).toBe(y.channels);
      expect(block.weightRank).toBe(formula.name.includes("linear") ? 2 : 4);
      // Where nothing tells the group count, the smallest is taken: a part of the channels, the same weight shape.
      expect(formula.inC % block.inChannels).toBe(0);
      expect(block.epsilon).toEqual({ value: row.epsilon, from: "default" });
      const affine = await interpretRegion(block.graph, "x", "y", formula.name);
      const made = emission(affine);
      const { values } = await emittedRows(affine, made, 0, made.outC, false);
      const bias = (await affine.biases()).values;
      const [kernelH = 1, kernelW = 1] = made.kernelShape;
      const fused = convolve(x, values, bias, {
        out: made.outC,
        kernel: [kernelH, kernelW],
        groups: made.group * (formula.inC / made.inC),
      });
      const largest = y.data.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      let worst = 0;
      for (const [j, value] of y.data.entries()) {
        worst = Math.max(worst, Math.abs(value - fused.data[j]!));
      }
      expect([fused.height, fused.width]).toEqual([y.height, y.width]);
      // Fewer than 10^4 float64 operations of 2^-53 each stand behind an output, relative to the largest.
      expect(worst).toBeLessThanOrEqual(1e4 * 2 ** -53 * Math.max(largest, 1));
    },
  );
});
