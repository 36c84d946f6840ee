"""Plain nets for insertion, and the same nets with multi-branch modules that load what insertion wrote.

    python insert_check.py make FOLDER     plain.pth: an ordinary trained-looking net; strided and grouped layers in it
    python insert_check.py check FOLDER    reads inserted-<block>.pth with strict=True; one JSON array on stdout

The modules are written from the published key tables, for this project; not the authors' code.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

# Random one-rounding perturbations of the plain net that make the noise floor, and the margin over the largest of them:
# an inserted kernel is rounded once as well, of a sum of magnitudes some 1.5 times the kernel's own.
NOISE_SAMPLES, NOISE_MARGIN = 8, 4


def conv_bn(c_in, c_out, k, stride, padding, groups):
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(c_in, c_out, k, stride, padding, groups=groups, bias=False))
    module.add_module("bn", nn.BatchNorm2d(c_out))
    return module


class RepVgg(nn.Module):
    def __init__(self, c_in, c_out, k, stride, groups):
        super().__init__()
        if c_in == c_out and stride == 1:
            self.rbr_identity = nn.BatchNorm2d(c_in)
        self.rbr_dense = conv_bn(c_in, c_out, k, stride, k // 2, groups)
        self.rbr_1x1 = conv_bn(c_in, c_out, 1, stride, 0, groups)

    def forward(self, x):
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        return y + self.rbr_identity(x) if hasattr(self, "rbr_identity") else y


class MobileOne(nn.Module):
    def __init__(self, c_in, c_out, k, stride, groups):
        super().__init__()
        if c_in == c_out and stride == 1:
            self.rbr_skip = nn.BatchNorm2d(c_in)
        self.rbr_conv = nn.ModuleList(conv_bn(c_in, c_out, k, stride, k // 2, groups) for _ in range(4))
        self.rbr_scale = conv_bn(c_in, c_out, 1, stride, 0, groups)

    def forward(self, x):
        y = sum(branch(x) for branch in self.rbr_conv) + self.rbr_scale(x)
        return y + self.rbr_skip(x) if hasattr(self, "rbr_skip") else y


class Asymmetric(nn.Module):
    def __init__(self, c_in, c_out, k, stride, groups):
        super().__init__()
        for name, shape in (("square", (k, k)), ("ver", (k, 1)), ("hor", (1, k))):
            padding = tuple(n // 2 for n in shape)
            conv = nn.Conv2d(c_in, c_out, shape, stride, padding, groups=groups, bias=False)
            self.add_module(name + "_conv", conv)
            self.add_module(name + "_bn", nn.BatchNorm2d(c_out))

    def forward(self, x):
        names = ("square", "ver", "hor")
        return sum(getattr(self, n + "_bn")(getattr(self, n + "_conv")(x)) for n in names)


class PaddedBatchNorm(nn.Module):
    """Pads with what the batch norm gives for zero."""

    def __init__(self, channels, padding):
        super().__init__()
        self.bn, self.padding = nn.BatchNorm2d(channels), padding

    def forward(self, x):
        bn, p = self.bn, self.padding
        border = bn.bias - bn.running_mean * bn.weight / torch.sqrt(bn.running_var + bn.eps)
        y = border.view(1, -1, 1, 1).expand(x.shape[0], -1, x.shape[2] + 2 * p, x.shape[3] + 2 * p).clone()
        y[:, :, p : y.shape[2] - p, p : y.shape[3] - p] = bn(x)
        return y


class IdentityBased(nn.Conv2d):
    """A 1×1 convolution that stores the difference to the identity."""

    def __init__(self, channels, groups):
        super().__init__(channels, channels, 1, groups=groups, bias=False)

    def forward(self, x):
        c = torch.arange(self.weight.shape[0])
        weight = self.weight.clone()
        weight[c, c % weight.shape[1], 0, 0] += 1
        return functional.conv2d(x, weight, groups=self.groups)


class Diverse(nn.Module):
    def __init__(self, c_in, c_out, k, stride, groups):
        super().__init__()
        p = k // 2
        self.dbb_origin = conv_bn(c_in, c_out, k, stride, p, groups)
        self.dbb_avg = nn.Sequential()
        separate = groups == c_out
        if not separate:
            self.dbb_avg.add_module("conv", nn.Conv2d(c_in, c_out, 1, groups=groups, bias=False))
            self.dbb_avg.add_module("bn", PaddedBatchNorm(c_out, p))
            self.dbb_1x1 = conv_bn(c_in, c_out, 1, stride, 0, groups)
        self.dbb_avg.add_module("avg", nn.AvgPool2d(k, stride, p if separate else 0))
        self.dbb_avg.add_module("avgbn", nn.BatchNorm2d(c_out))
        inner = 2 * c_in if separate else c_in
        chain = nn.Sequential()
        if separate:
            chain.add_module("conv1", nn.Conv2d(c_in, inner, 1, groups=groups, bias=False))
        else:
            chain.add_module("idconv1", IdentityBased(c_in, groups))
        chain.add_module("bn1", PaddedBatchNorm(inner, p))
        chain.add_module("conv2", nn.Conv2d(inner, c_out, k, stride, groups=groups, bias=False))
        chain.add_module("bn2", nn.BatchNorm2d(c_out))
        self.dbb_1x1_kxk = chain

    def forward(self, x):
        y = self.dbb_origin(x) + self.dbb_avg(x) + self.dbb_1x1_kxk(x)
        return y + self.dbb_1x1(x) if hasattr(self, "dbb_1x1") else y


BLOCKS = {"repvgg": RepVgg, "mobileone": MobileOne, "acnet": Asymmetric, "dbb": Diverse}

# c_in, c_out, kernel, stride, groups, conv bias, batch norm
LAYERS = [
    (3, 12, 3, 2, 1, False, True),
    (12, 12, 3, 1, 1, True, True),
    (12, 12, 3, 1, 12, False, True),
    (12, 18, 5, 2, 3, False, True),
    (18, 18, 3, 1, 1, True, False),
]


class Net(nn.Module):
    """`conv1 bn1 conv2 bn2 …`; batch norms are registered after all convolutions."""

    def __init__(self, block=None):
        super().__init__()
        for i, (c_in, c_out, k, stride, groups, bias, _) in enumerate(LAYERS, 1):
            plain = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=bias)
            self.add_module(f"conv{i}", block(c_in, c_out, k, stride, groups) if block else plain)
        for i, layer in enumerate(LAYERS, 1):
            if layer[6]:
                self.add_module(f"bn{i}", nn.Identity() if block else nn.BatchNorm2d(layer[1]))
        self.head = nn.Linear(18, 7)

    def forward(self, x):
        for i, layer in enumerate(LAYERS, 1):
            x = getattr(self, f"conv{i}")(x)
            x = torch.relu(getattr(self, f"bn{i}")(x) if layer[6] else x)
        return self.head(x.mean(dim=(2, 3)))


def make(folder):
    torch.manual_seed(23)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.3, 3)
    torch.save(net.state_dict(), folder / "plain.pth")
    torch.save(torch.randn(2, 3, 33, 35), folder / "x.pt")


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def run(net, x):
    with torch.no_grad():
        return net.double().eval()(x.double())


def rounded_once(state, seed):
    generator = torch.Generator().manual_seed(seed)
    def move(tensor):
        if not tensor.is_floating_point():
            return tensor
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return tensor.double() * (1 + noise * 2.0**-24)
    return {name: move(tensor) for name, tensor in state.items()}


def check(folder):
    x, plain = load(folder / "x.pt"), load(folder / "plain.pth")
    net = Net().double()
    net.load_state_dict(plain, strict=True)
    truth = run(net, x)
    floor = 0.0
    for seed in range(NOISE_SAMPLES):
        net.load_state_dict(rounded_once(plain, seed), strict=True)
        floor = max(floor, float((run(net, x) - truth).norm() / truth.norm()))
    results = []
    for path in sorted(folder.glob("inserted-*.pth")):
        block = path.stem.split("-")[1]
        record = {"block": block, "file": path.name, "limit": NOISE_MARGIN * floor}
        try:
            inserted = Net(BLOCKS[block])
            inserted.load_state_dict(load(path), strict=True)
            record["error"] = float((run(inserted, x) - truth).norm() / truth.norm())
        except Exception as error:
            record["failure"] = f"{type(error).__name__}: {error}"
        results.append(record)
    print(json.dumps(results))


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
