/**
 * @file What people should know about each built-in family, and where it is from: for docs/families.md. Apart from the
 * rows, because programs that convert (the page) have no use for it.
 */

import type { FamilyNotes } from "../family.ts";

const QAREPVGG_SOURCE = "meituan/YOLOv6, yolov6/layers/common.py";

const QAREPVGG_QUIRKS = [
  "The pointwise and identity branches have no BatchNorm; the BatchNorm after the sum stays in the origin's deploy form.",
  "The branches without weights have no keys: they are taken as present where input and output channels agree, and that is said.",
];

const YOLO_NAS_QUIRKS = [
  "Training checkpoints hold `rbr_reparam` as well, a placeholder that was never fused; the branches are what counts.",
  "The identity branch has no keys: it is taken as present where input and output channels agree, and that is said.",
];

const YOLO_NAS_SOURCE = "Deci-AI/super-gradients, modules/qarepvgg_block.py";

/** By the family's name. */
export const FAMILY_NOTES: Readonly<Record<string, FamilyNotes>> = {
  repvgg: {
    source: "DingXiaoH/RepVGG, repvgg.py",
    quirks: [
      "SE blocks of the D2se variant pool with kernel = width, so they mean something else on inputs that are not square (RepVGG#77); only the convolution is converted here.",
      "The constructor takes `dilation` and `padding_mode`, but the training branches ignore both while the deploy convolution uses them (RepVGG#57); the weights are the same either way.",
    ],
  },
  repvggplus: {
    source: "DingXiaoH/RepVGG, repvggplus_custom_L2.py",
    quirks: [
      "The three auxiliary heads of the training form are deleted in the deploy form.",
      "SE stands after the ReLU (`post_se`), not before it.",
      "repvggplus.py's own deploy form still calls a deleted head and raises; repvggplus_custom_L2.py does not.",
    ],
  },
  efficientloftr: {
    source: "zju3dv/EfficientLoFTR, src/loftr/backbone/repvgg.py",
    quirks: [
      "The first stage has stride 1 at 1/2 resolution; its blocks may have an identity branch.",
    ],
  },
  sixdrepnet: {
    source: "thohemp/6DRepNet, sixdrepnet/backbone/repvgg.py",
    quirks: [
      "The origin's convert.py copies only the keys it can match and drops the others without a word.",
    ],
  },
  "zcls-repvgg": {
    source: "ZJCV/ZCls, zcls/model/conv_helper.py",
    quirks: [
      "The fused convolution takes the block's place: its keys are `<prefix>.weight` and `<prefix>.bias`.",
      "Considered by itself only where the prefix is all numbers; say --family zcls-repvgg elsewhere.",
      "The training branches ignore `padding_mode`, the origin's fused convolution uses it; the weights are right, the origin's deploy graph is not.",
      "The origin's own fuse fails for k5 with an identity branch (its identity kernel is always 3×3); this one does not.",
    ],
  },
  "timm-repvgg": {
    source: "huggingface/pytorch-image-models, timm/models/byobnet.py",
    quirks: [
      "A block constructed with `inference_mode=True` has no padding in its convolution; one converted by `reparameterize` has.",
    ],
  },
  "mmpretrain-repvgg": {
    source: "open-mmlab/mmpretrain, mmpretrain/models/backbones/repvgg.py",
    quirks: [
      "The origin's deploy forward returns before its SE layer, so a converted D2se loses SE there; the weights are right.",
      "Dilated stages have padding = dilation; neither is in the checkpoint, and the fused weights do not depend on them.",
    ],
  },
  mobileone: {
    source: "apple/ml-mobileone, mobileone.py",
    quirks: ["The pointwise layers have no scale branch, as their kernel is 1×1 already."],
  },
  "timm-mobileone": {
    source: "huggingface/pytorch-image-models, timm/models/byobnet.py",
    quirks: ["The training branches ignore `dilation`."],
  },
  "mmpretrain-mobileone": {
    source: "open-mmlab/mmpretrain, mmpretrain/models/backbones/mobileone.py",
    quirks: ["BatchNorm is called `norm`, the identity branch `branch_norm`."],
  },
  acnet: {
    source: "DingXiaoH/ACNet, acnet/acb.py",
    quirks: [
      "Where the padding is smaller than half the kernel the block crops its input for the crosses; the fused weights are the same.",
    ],
  },
  "zcls-acb": {
    source: "ZJCV/ZCls, zcls/model/conv_helper.py",
    quirks: [
      "The origin fuses with the epsilon given as an argument instead of each layer's own.",
      "Considered by itself only where the prefix is all numbers; say --family zcls-acb elsewhere.",
    ],
  },
  dbb: {
    source: "DingXiaoH/DiverseBranchBlock, diversebranchblock.py",
    quirks: [
      "`dbb_1x1_kxk.idconv1.weight` holds the difference to the identity kernel; the identity itself is not stored.",
      "`bn1` and `dbb_avg.bn` pad with the value BatchNorm gives for zero, so a pointwise convolution before the k×k one is exact at the border.",
      "Depthwise blocks have no `dbb_1x1` and average the input itself.",
    ],
  },
  "zcls-dbb": {
    source: "ZJCV/ZCls, zcls/model/conv_helper.py",
    quirks: [
      "Considered by itself only where the prefix is all numbers; say --family zcls-dbb elsewhere.",
    ],
  },
  replknet: {
    source: "DingXiaoH/RepLKNet-pytorch, replknet.py",
    quirks: [
      "Only the large-kernel branches are merged; `pw1`, `pw2`, `prelkb_bn`, `preffn_bn` keep their BatchNorm in the deploy form.",
      "The origin's merge loses the padding when the iGEMM convolution is used (RepLKNet-pytorch#48).",
    ],
  },
  unireplknet: {
    source: "AILab-CVC/UniRepLKNet, unireplknet.py",
    quirks: [
      "`dil_conv_k{K}_{R}` is a K×K convolution with dilation R: its taps lie R apart in the large kernel.",
      "The norm after the depthwise convolution is folded into it; layer scale and GRN's beta are folded into `pwconv2.0`, GRN's gamma stays.",
      "The fused weights keep the name `lk_origin`, so a deploy file cannot be told from its names alone.",
    ],
  },
  orepa: {
    source: "JUGGHM/OREPA_CVPR2022, blocks.py and blocks_repvgg.py",
    quirks: [
      "All branches are one kernel with one BatchNorm after it; `vector` holds one scale per branch and output channel.",
      "In RepVGG form with an identity branch `vector` has a row that is never used.",
      "With groups the rows of `weight_orepa_gconv_pw` are interleaved: the origin's forward reads row o·groups + g as channel o of group g.",
      "For kernels other than 3×3 the origin leaves part of `weight_orepa_prior` uninitialised; what is stored is what counts.",
      "Branches that cancel each other make the fused weights ill-conditioned (OREPA_CVPR2022#11).",
    ],
  },
  yolov6: {
    source: "meituan/YOLOv6, yolov6/layers/common.py",
    quirks: [
      "Epsilon is 1e-3, set on the built model; the checkpoint does not say it.",
      "`switch_to_deploy` alone is wrong in the origin: `fuse_model` has to run first (YOLOv6 layers/common.py).",
    ],
  },
  qarepvgg: {
    source: QAREPVGG_SOURCE,
    quirks: [
      ...QAREPVGG_QUIRKS,
      "The keys are those of version 2 as well, so a file of either has to be named.",
    ],
  },
  "qarepvgg-v2": {
    source: QAREPVGG_SOURCE,
    quirks: [
      ...QAREPVGG_QUIRKS,
      "Version 2 adds an average pool beside the identity; no key tells it from version 1.",
    ],
  },
  yolov7: {
    source: "WongKinYiu/yolov7, models/common.py and models/yolo.py",
    quirks: [
      "Epsilon is 1e-3, set on the built model.",
      "The origin's `fuse_repvgg_block` is wrong for groups > 1 (identity right in the first group only); `get_equivalent_kernel_bias` is right, and so is this.",
      "Implicit knowledge is added before and multiplied after the head's pointwise convolution, so it folds into it.",
      "Checkpoints are whole pickled modules; `ema` and `model` in them differ.",
    ],
  },
  ultralytics: {
    source: "ultralytics/ultralytics, ultralytics/nn/modules/conv.py",
    quirks: [
      "Epsilon is 1e-3, set on the built model.",
      "In RepConv `bn` is the identity branch, in Conv2 it is the BatchNorm after the sum.",
    ],
  },
  "super-gradients": {
    source: "Deci-AI/super-gradients, modules/repvgg_block.py",
    quirks: ["`alpha` multiplies kernel and bias of the pointwise branch."],
  },
  "yolo-nas": {
    source: YOLO_NAS_SOURCE,
    quirks: [
      ...YOLO_NAS_QUIRKS,
      "Full fusion folds `post_bn` as well; --family yolo-nas-partial keeps it, which is the origin's default.",
    ],
  },
  "yolo-nas-partial": {
    source: YOLO_NAS_SOURCE,
    quirks: [
      ...YOLO_NAS_QUIRKS,
      "Only when asked for: `post_bn` stays behind the fused convolution.",
    ],
  },
  ppyoloe: {
    source: "PaddlePaddle/PaddleDetection, ppdet/modeling/backbones/cspresnet.py",
    quirks: [
      "`alpha` multiplies kernel and bias of the second convolution.",
      "Without `alpha` the keys are those of Ultralytics' RepConv, whose epsilon differs.",
    ],
  },
  pplcnetv3: {
    source: "PaddlePaddle/PaddleOCR, ppocr/modeling/backbones/rec_lcnetv3.py",
    quirks: [
      "The learnable affine block `lab` after the sum stays as it is in the origin's deploy form.",
      "Paddle's BatchNorm calls its statistics `_mean` and `_variance`; both namings are read.",
    ],
  },
  repvit: {
    source: "THU-MIG/RepViT, model/repvit.py",
    quirks: [
      "`bn` of RepVGGDW stands after the sum; it is not an identity branch. Legacy checkpoints have `conv1.{c,bn}` instead.",
      "The two classifiers are averaged, so they become one linear layer called `classifier`.",
      "The deploy keys are `<prefix>.weight` and `<prefix>.bias`: a deploy file cannot be told from its names alone.",
    ],
  },
  fastvit: {
    source: "apple/ml-fastvit, models/fastvit.py",
    quirks: [
      "RepMixer is x + layer_scale · (mixer(x) − norm(x)); `norm` is a MobileOne block that has nothing but an identity BatchNorm.",
      "`convffn.conv` keeps its BatchNorm in the origin's deploy form.",
    ],
  },
  "timm-fastvit": {
    source: "huggingface/pytorch-image-models, timm/models/fastvit.py",
    quirks: ["The positional encoding has an identity branch without keys."],
  },
  repghost: {
    source: "ChengpengChen/RepGhost, model/repghost.py",
    quirks: ["The primary convolution keeps its BatchNorm in the origin's deploy form."],
  },
  ghostnetv3: {
    source: "huawei-noah/Efficient-AI-Backbones, ghostnetv3_pytorch/ghostnetv3.py",
    quirks: [
      "The fused convolution sits in a Sequential with its activation: `primary_conv.0`, `cheap_operation.0`.",
      "The pointwise branch of a strided k×k primary convolution has stride 1 in the origin and cannot be added; the published nets have none.",
    ],
  },
  ecbsr: {
    source: "xindongzhang/ECBSR, models/ecb.py",
    quirks: [
      "The branches are padded with the first bias between their two convolutions, not with zero.",
      "The block fuses itself on the fly in eval mode; the branches show in train mode only.",
      "Whether a block has its identity branch (`with_idt`) is not in the checkpoint: it is taken as present where input and output channels agree, and that is said.",
      "The fused weights keep the name `conv3x3`.",
    ],
  },
  rt4ksr: {
    source: "eduardzamfir/RT4KSR, code/models/architectures/rt4ksr.py",
    quirks: ["The expanded value is padded with its own bias, and both residuals have no keys."],
  },
  rvsr: {
    source: "huai-chang/RVSR",
    quirks: [
      "The expanded values are padded with their own bias; the identity branch has no keys.",
    ],
  },
  mobileie: {
    source: "Barry1749/MobileIE, model/utils.py",
    quirks: [
      "Each branch enters the concatenation twice, as it is and after its BatchNorm.",
      "The deploy keys are `<prefix>.weight` and `<prefix>.bias`: a deploy file cannot be told from its names alone.",
    ],
  },
};
