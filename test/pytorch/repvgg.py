"""RepVGG and RepVGGplus as plain PyTorch modules, training and deploy form, with the published key names.

Written for this project's own fixtures and interop checks from the published key table; not the authors' code.
Works with PyTorch 1.13 and 2.x.

`arch` is the `arch` object of a fixture's case.json:
  layout "repvgg" | "repvggplus", inputChannels, stem, stageBlocks[4], stageWidths[4], classes,
  groups {layer index: groups} (stage0 has index 0), se "none" | "before-relu" | "after-relu", seReduction.
"""

from collections import OrderedDict

import torch
from torch import nn


class SqueezeExcite(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1)
        self.up = nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.up(torch.relu(self.down(pooled))))


def conv_bn(in_channels, out_channels, kernel, stride, groups, eps):
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels, eps=eps)))


class Block(nn.Module):
    def __init__(self, in_channels, out_channels, stride, groups, se, se_reduction, deploy, eps):
        super().__init__()
        hidden = out_channels // se_reduction if se != "none" else 0
        if se == "before-relu":
            self.se = SqueezeExcite(out_channels, hidden)
        elif se == "after-relu":
            self.post_se = SqueezeExcite(out_channels, hidden)
        if deploy:
            self.rbr_reparam = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups)
            return
        if in_channels == out_channels and stride == 1:
            self.rbr_identity = nn.BatchNorm2d(out_channels, eps=eps)
        self.rbr_dense = conv_bn(in_channels, out_channels, 3, stride, groups, eps)
        self.rbr_1x1 = conv_bn(in_channels, out_channels, 1, stride, groups, eps)

    def forward(self, x):
        if hasattr(self, "rbr_reparam"):
            y = self.rbr_reparam(x)
        else:
            y = self.rbr_dense(x) + self.rbr_1x1(x)
            if hasattr(self, "rbr_identity"):
                y = y + self.rbr_identity(x)
        if hasattr(self, "se"):
            y = self.se(y)
        y = torch.relu(y)
        return self.post_se(y) if hasattr(self, "post_se") else y

    def exact_kernel(self):
        """The equivalent kernel and bias in float64, unrounded: sum over branches of K * s and beta - mean * s."""
        dense = self.rbr_dense.conv.weight.double()
        out_channels, per_group = dense.shape[:2]
        s, shift = affine(self.rbr_dense.bn)
        weight, bias = dense * s.view(-1, 1, 1, 1), shift
        s, shift = affine(self.rbr_1x1.bn)
        weight[:, :, 1, 1] += self.rbr_1x1.conv.weight.double()[:, :, 0, 0] * s.view(-1, 1)
        bias = bias + shift
        if hasattr(self, "rbr_identity"):
            s, shift = affine(self.rbr_identity)
            channel = torch.arange(out_channels)
            weight[channel, channel % per_group, 1, 1] += s
            bias = bias + shift
        return weight, bias


def affine(bn):
    """s = gamma / sqrt(variance + eps) and beta - mean * s, in float64."""
    s = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return s, bn.bias.double() - bn.running_mean.double() * s


class Blocks(nn.Module):
    """RepVGGplus keeps a stage's blocks under `.blocks`."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class RepVGG(nn.Module):
    def __init__(self, arch, deploy=False, eps=1e-5):
        super().__init__()
        self.arch = arch
        plus = arch["layout"] == "repvggplus"
        groups = {int(index): g for index, g in arch.get("groups", {}).items()}
        state = {"layer": 0, "width": arch["inputChannels"]}

        def block(width, stride):
            made = Block(
                *(state["width"], width, stride, groups.get(state["layer"], 1)),
                *(arch["se"], arch.get("seReduction", 16), deploy, eps),
            )
            state["layer"] += 1
            state["width"] = width
            return made

        def stage(count, width, stride=2):
            blocks = [block(width, stride if i == 0 else 1) for i in range(count)]
            return Blocks(blocks) if plus else nn.Sequential(*blocks)

        def auxiliary(name):
            if deploy or not plus:
                return
            head = nn.Sequential(
                nn.Sequential(conv_bn(state["width"], state["width"], 3, 2, 1, eps), nn.ReLU()),
                *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(state["width"], arch["classes"])),
            )
            # The published keys are `0.conv` and `0.bn`, so the unit is one flat module.
            unit = head[0][0]
            unit.add_module("relu", nn.ReLU())
            head[0] = unit
            setattr(self, name, head)

        blocks, widths = arch["stageBlocks"], arch["stageWidths"]
        self.stage0 = block(arch["stem"], 2)
        self.stage1 = stage(blocks[0], widths[0])
        auxiliary("stage1_aux")
        self.stage2 = stage(blocks[1], widths[1])
        auxiliary("stage2_aux")
        if plus:
            self.stage3_first = stage(blocks[2] // 2, widths[2])
            auxiliary("stage3_first_aux")
            self.stage3_second = stage(blocks[2] // 2, widths[2], stride=1)
        else:
            self.stage3 = stage(blocks[2], widths[2])
        self.stage4 = stage(blocks[3], widths[3])
        self.linear = nn.Linear(widths[3], arch["classes"])

    def forward(self, x):
        stages = ["stage0", "stage1", "stage2"]
        stages += ["stage3_first", "stage3_second"] if hasattr(self, "stage3_first") else ["stage3"]
        for name in stages + ["stage4"]:
            x = getattr(self, name)(x)
            if self.training and hasattr(self, name + "_aux"):
                getattr(self, name + "_aux")(x)  # only for its statistics
        return self.linear(x.mean(dim=(2, 3)))


def exact_deploy_state(train):
    """The deploy form's state dict in float64, unrounded, from a training-form net. Auxiliary heads are dropped."""
    fused = OrderedDict()
    for name, module in train.named_modules():
        if isinstance(module, Block):
            fused[name + ".rbr_reparam.weight"], fused[name + ".rbr_reparam.bias"] = module.exact_kernel()
    deploy = RepVGG(train.arch, deploy=True)
    kept = train.state_dict()
    return OrderedDict((key, fused[key] if key in fused else kept[key].double()) for key in deploy.state_dict())
