"""The peer of bench/convert.ts: what a PyTorch user runs. Reads a RepVGG checkpoint, folds its blocks in float32, saves.

Usage: python bench/convert_pytorch.py TRAIN.pth DEPLOY.pth
"""

import sys

import torch


def folded(state, prefix):
    """Weight and bias of one convolution or identity with its batch norm, as a 3×3 kernel."""
    bn = f"{prefix}.bn" if f"{prefix}.bn.weight" in state else prefix
    gamma, beta = state[f"{bn}.weight"], state[f"{bn}.bias"]
    mean, variance = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
    scale = gamma / torch.sqrt(variance + 1e-5)
    kernel = state.get(f"{prefix}.conv.weight")
    return kernel, scale, beta - mean * scale


def fuse(state, block):
    dense, scale, bias = folded(state, f"{block}.rbr_dense")
    weight = dense * scale.reshape(-1, 1, 1, 1)
    point, scale, shift = folded(state, f"{block}.rbr_1x1")
    weight[:, :, 1:2, 1:2] += point * scale.reshape(-1, 1, 1, 1)
    bias = bias + shift
    if f"{block}.rbr_identity.weight" in state:
        _, scale, shift = folded(state, f"{block}.rbr_identity")
        channels, per_group = weight.shape[:2]
        rows = torch.arange(channels)
        weight[rows, rows % per_group, 1, 1] += scale
        bias = bias + shift
    return weight, bias


def main(train, deploy):
    state = torch.load(train, map_location="cpu", weights_only=True)
    out = {}
    for key in state:
        block, dot, rest = key.partition(".rbr_")
        if not dot:
            out[key] = state[key]
        elif f"{block}.rbr_reparam.weight" not in out:
            weight, bias = fuse(state, block)
            out[f"{block}.rbr_reparam.weight"], out[f"{block}.rbr_reparam.bias"] = weight, bias
    torch.save(out, deploy)


main(*sys.argv[1:])
