/** @file Every cause that files, weights and graphs tell: what the page needs words for. */

export interface CauseRow {
  /** For people, without a full stop. */
  readonly title: string;
  /** What to do, for somebody who uses PyTorch. */
  readonly fix: string;
}

const ROWS = {
  "swapped-files": {
    title: "the two files are given in the wrong order",
    fix: "Give the training form first and the deploy form second; the comparison below was made that way round.",
  },
  "deploy-not-converted": {
    title: "the deploy file still has its branches",
    fix: "It was saved before conversion. Call the model's switch_to_deploy() (or `reparam convert`) and save after that.",
  },
  "half-converted": {
    title: "one file holds blocks of both forms",
    fix: "Convert every block: walk over all modules, not only the direct children, and convert once. `reparam convert` finishes a half-converted file.",
  },
  "training-already-deployed": {
    title: "the training file holds no branches",
    fix: "It is a deploy form itself, so nothing can be fused from it. Give the checkpoint that was trained.",
  },
  "prefix-differs": {
    title: "the keys of one file carry a wrapper's prefix",
    fix: "Strip the prefix before load_state_dict, and load with strict=True: with strict=False no key matches and nothing is loaded, silently.",
  },
  "tensors-missing": {
    title: "tensors of the training form are not in the deploy file",
    fix: "Copy every parameter and buffer that is no part of a fused block (named_parameters() alone leaves out the running statistics).",
  },
  "tensors-surplus": {
    title: "the deploy file holds tensors that nothing in the training form explains",
    fix: "Check that both files come from the same architecture, and remove what the deploy form does not use.",
  },
  "shape-differs": {
    title: "tensors have another shape",
    fix: "The two files are different architectures (width, groups, number of classes). Build both with the same arguments.",
  },
  "tensor-not-copied": {
    title: "tensors outside the fused blocks differ",
    fix: "Load the deploy model with the same checkpoint after building it: state_dict() of the training form for everything but the fused kernels, strict=True.",
  },
  "statistics-not-copied": {
    title: "batch norms outside the blocks still have their initial statistics",
    fix: "Copy buffers as well as parameters: use state_dict(), not named_parameters().",
  },
  "other-state-dict": {
    title: "the deploy form was made from another state dict of the same file",
    fix: "Decide which weights are meant (usually `ema` is what was evaluated), and use the same `--key` for both.",
  },
  "lower-precision": {
    title: "the deploy weights were rounded to a narrower format",
    fix: "If that is meant, judge it by accuracy. If not, convert in float32: call .float() before fusing and do not .half() the saved model.",
  },
  "untouched-initialisation": {
    title: "the deploy weights look like a fresh initialisation",
    fix: "The model was converted before its checkpoint was loaded (or nothing was loaded with strict=False). Load first, with strict=True, then convert.",
  },
  "other-training-state": {
    title: "the deploy weights come from another state of training",
    fix: "Another epoch, a run continued after conversion, or averaged (EMA) weights. Convert again from the checkpoint that is to be deployed.",
  },
  "unrelated-weights": {
    title: "the deploy weights have nothing in common with this block",
    fix: "The deploy file was made from another checkpoint, or its layers are in another order. Compare names and the checkpoint's origin.",
  },
  "stale-cached-kernel": {
    title: "a fused kernel cached in the training file was deployed, not its branches",
    fix: "The training file holds an old fused kernel beside newer branches. Refresh it (train mode, then eval), or convert again with `reparam convert`: the branches count there.",
  },
  "kernel-of-other-block": {
    title: "the kernel of another block was stored here",
    fix: "Two blocks are exchanged. Match modules by name, not by the order of a list.",
  },
  "bn-epsilon": {
    title: "batch norm was folded with another epsilon",
    fix: "Epsilon is not in a state dict. Set bn.eps on the model that is converted to what training used (PyTorch 1e-5; Ultralytics, YOLOv6, YOLOv7, TensorFlow 1e-3), or give it with --eps if this file's reading is what is wrong.",
  },
  "identity-missing": {
    title: "the identity branch is missing",
    fix: "Fuse rbr_identity too: it exists where input and output channels agree and the stride is 1.",
  },
  "pointwise-missing": {
    title: "the 1×1 branch is missing",
    fix: "Add the 1×1 kernel, zero-padded to the block's kernel size, and its bias to the sum.",
  },
  "branch-missing": {
    title: "a branch is missing",
    fix: "Add the branch's kernel and bias to the sum; check the loop over the branches.",
  },
  "branch-extra": {
    title: "the deploy form has a branch that the training form does not have",
    fix: "If the block is of another version (QARepVGG's second has an average pool without keys), name it with --family; else remove the branch from the fuse.",
  },
  "branch-doubled": {
    title: "a branch was added twice",
    fix: "Add every branch once; check whether the fuse runs twice or accumulates into a shared tensor.",
  },
  "branch-scaled": {
    title: "a branch was multiplied by a constant",
    fix: "The deploy form scales this branch (alpha, a loss of the sum's weights) and the training form does not: use the same scale in both.",
  },
  "branch-off-centre": {
    title: "a smaller kernel was placed off the centre of the fused kernel",
    fix: "Pad it by (K − k) / 2 on every side, so that its taps lie where its own padding put them.",
  },
  "grouped-identity": {
    title: "the identity of a grouped block is right in the first group only",
    fix: "In a grouped convolution's weight the identity of channel o is at input index o mod (C / groups), for every o; fill_diagonal_ writes the first group only.",
  },
  "running-mean-ignored": {
    title: "the running mean was not subtracted",
    fix: "The bias is beta − running_mean · gamma / sqrt(running_var + eps).",
  },
  "bias-dropped": {
    title: "the fused bias was dropped",
    fix: "Create the deploy convolution with bias=True and copy the fused bias into it.",
  },
  "bn-bias-ignored": {
    title: "batch norm's own bias (beta) was left out",
    fix: "The bias is beta − running_mean · gamma / sqrt(running_var + eps).",
  },
  "conv-bias-dropped": {
    title: "the bias of a convolution before its batch norm was dropped",
    fix: "Where the convolution has a bias b, the fused bias is beta + (b − running_mean) · gamma / sqrt(running_var + eps).",
  },
  "gamma-ignored": {
    title: "batch norm's weight (gamma) was left out",
    fix: "The factor is gamma / sqrt(running_var + eps).",
  },
  "square-root-missing": {
    title: "the variance was used without its square root",
    fix: "The factor is gamma / sqrt(running_var + eps): running_var is a variance, not a standard deviation.",
  },
  "bn-swapped": {
    title: "the batch norms of two branches were exchanged",
    fix: "Fuse every convolution with the batch norm that follows it.",
  },
  "bn-of-other-block": {
    title: "batch norms of another block were used",
    fix: "Fuse every convolution with the batch norm of its own block; check a loop variable that kept its last value.",
  },
  "bn-folded-twice": {
    title: "batch norm was folded twice",
    fix: "Convert once: after folding, the batch norm must be gone or an identity before anything is fused again.",
  },
  "bn-not-folded": {
    title: "batch norm was not folded in",
    fix: "Fold the batch norms before they are removed; a helper that replaces BatchNorm by Identity must run after the fuse.",
  },
  "scale-ignored": {
    title: "a learned scale was left out",
    fix: "Multiply kernel and bias by the scale (alpha, layer scale, implicit), or add the shift, before summing.",
  },
  "post-bn-missing": {
    title: "the batch norm after the sum was left out",
    fix: "Fold the batch norm that follows the addition into the summed kernel, or keep it in the deploy model.",
  },
  "kernel-transposed": {
    title: "height and width of the kernel are exchanged",
    fix: "Keep the kernel's axes in the order [out, in, height, width].",
  },
  "kernel-flipped": {
    title: "the kernel is mirrored",
    fix: "PyTorch and ONNX compute cross-correlation: no flip is needed when kernels are copied between them.",
  },
  "kernel-layout": {
    title: "the kernel's axes are in another order",
    fix: "Permute to [out, in, height, width] (TensorFlow stores [height, width, in, out]).",
  },
  "input-channels-permuted": {
    title: "input channels are in another order",
    fix: "Keep the channel order; for the first layer this is RGB against BGR.",
  },
  "output-channels-permuted": {
    title: "output channels are in another order",
    fix: "Keep the order of the filters, or permute the next layer's input channels alike.",
  },
  "statistics-drifted": {
    title: "the batch norm statistics moved after (or before) conversion",
    fix: "Call eval() before converting and before comparing: every forward pass in train() mode moves the running statistics. Convert again from the checkpoint that is to be deployed.",
  },
  "altered-weight": {
    title: "single weights were changed",
    fix: "Everything else of the block is right. Convert again, and look for what edits or transports the file.",
  },
  "altered-bias": {
    title: "single biases were changed",
    fix: "Everything else of the block is right. Convert again, and look for what edits or transports the file.",
  },
  "altered-channel": {
    title: "single filters were changed",
    fix: "All other filters are right. Convert again; pruning, clipping and channel equalisation do this.",
  },
  "not-finite": {
    title: "the deploy kernel holds NaN or infinities",
    fix: "Look for overflow in a half-precision fuse (near-dead channels divide by almost zero), and convert in float32.",
  },
  "stride-differs": {
    title: "a stride differs",
    fix: "Build the deploy convolution with the training block's stride.",
  },
  "pads-differ": {
    title: "a padding differs",
    fix: "Build the deploy convolution with the dense branch's padding (mind positional arguments: padding is not the fourth).",
  },
  "dilation-differs": {
    title: "a dilation differs",
    fix: "Build the deploy convolution with the dense branch's dilation.",
  },
  "groups-differ": {
    title: "a group count differs",
    fix: "Build the deploy convolution with the training block's groups.",
  },
  "padding-mode-differs": {
    title: "the border is padded in another way",
    fix: "Use the same padding_mode in all branches and in the deploy convolution.",
  },
  "activation-missing": {
    title: "an activation is missing in the deploy graph",
    fix: "Keep the block's nonlinearity after the fused convolution.",
  },
  "activation-extra": {
    title: "the deploy graph has an additional activation",
    fix: "Remove the activation that the training form does not have.",
  },
  "activation-differs": {
    title: "the activation is another one",
    fix: "Build both forms with the same activation (ReLU and SiLU are often exchanged by a config's default).",
  },
  "se-missing": {
    title: "squeeze-and-excitation is left out of the deploy graph",
    fix: "Keep the SE module in the deploy forward: it depends on the image and cannot be fused.",
  },
  "se-misplaced": {
    title: "squeeze-and-excitation stands on the other side of the activation",
    fix: "RepVGG-D2se has it before the ReLU, RepVGGplus after it; keep the training form's order.",
  },
  "outputs-reordered": {
    title: "the outputs are in another order",
    fix: "Return the outputs in the training form's order, or address them by name.",
  },
  "graph-differs": {
    title: "the graphs differ in an operator",
    fix: "Compare the two forward() methods at the place named.",
  },
  unmatched: {
    title: "no deploy kernel is known to stand for these blocks",
    fix: "If the deploy side folds more than the training form does, give both graphs (ONNX), so that their outputs can be compared.",
  },
  unknown: {
    title: "the cause is not known",
    fix: "The evidence says where and how much. Compare the code that made the deploy file with the block's definition there.",
  },
} as const;

export type FileCauseId = keyof typeof ROWS;

export const FILE_CAUSES: Readonly<Record<FileCauseId, CauseRow>> = ROWS;
