"""Makes test/fixtures/* and examples/data/repvgg-small.pth with real PyTorch.

    python scripts/make-fixtures.py            (from the repository root; needs torch and numpy)

The committed files were made with Python 3.11.7, torch 2.13.0+cpu and numpy 2.4.6, one thread. Other versions give
other random numbers in the last place, so remake all of them together.

Every case holds train.pth, deploy.pth (each equivalent kernel computed in float64 and rounded once), x.npy,
y_train_f64.npy (the training form run in float64 on the stored parameters) and case.json. BN statistics are real:
they come from forward passes in train mode on smooth random images; gammas have both signs, some are nearly zero.
Remaking gives the same bytes, except legacy/train.pth, whose storage keys are memory addresses.
"""

import json
import platform
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "pytorch"))
from repvgg import RepVGG, exact_deploy_state  # noqa: E402

PLAIN = dict(layout="repvgg", inputChannels=3, stem=8, groups={}, se="none", classes=10)
SMALL = dict(PLAIN, stageBlocks=[1, 2, 2, 1], stageWidths=[8, 12, 16, 24])
FOUR = {str(i): 4 for i in range(2, 27, 2)}

CASES = [
    dict(name="repvgg", arch=SMALL),
    dict(name="repvgg-grouped", arch=dict(PLAIN, stem=8, stageBlocks=[2, 3, 2, 1], stageWidths=[8, 16, 16, 24], groups=FOUR)),
    dict(
        name="repvgg-372",
        arch=dict(PLAIN, inputChannels=1, stem=4, stageBlocks=[4, 6, 16, 1], stageWidths=[5, 5, 5, 8], classes=372),
        size=64,
        shift=0.05,  # 28 layers of large shifts would make the output a constant
    ),
    dict(
        name="repvgg-se",
        arch=dict(PLAIN, stem=16, stageBlocks=[1, 2, 1, 1], stageWidths=[16, 16, 16, 32], se="before-relu", seReduction=16),
    ),
    dict(
        name="repvggplus",
        arch=dict(
            PLAIN, layout="repvggplus", stageBlocks=[1, 1, 4, 1], stageWidths=[8, 8, 12, 16], se="after-relu", seReduction=4
        ),
    ),
    dict(name="wrapper-ddp-ema", arch=SMALL, container="wrapper"),
    dict(name="whole-module-eps", arch=SMALL, container="module", eps=1e-3),
    dict(name="legacy", arch=SMALL, legacy=True),
    dict(name="fp16", arch=SMALL, dtype="float16"),
]


def images(generator, batch, channels, size):
    """Smooth random images with a mean of their own per channel."""
    coarse = torch.randn(batch, channels, size // 8, size // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return smooth + 0.5 * torch.randn(1, channels, 1, 1, generator=generator)


def trained_net(arch, seed, eps, size, shift=0.3):
    """A net with kaiming weights, non-trivial BN parameters and statistics from 40 forward passes in train mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    net = RepVGG(arch, eps=eps)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            gamma = 0.4 + 0.4 * torch.rand(module.num_features, generator=generator)
            sign = torch.where(torch.rand(module.num_features, generator=generator) < 0.2, -1.0, 1.0)
            gamma[torch.rand(module.num_features, generator=generator) < 0.05] = 1e-4
            module.weight.data = gamma * sign
            module.bias.data = shift * torch.randn(module.num_features, generator=generator)
    # A head that listens to the features more than to its bias, so that outputs differ between images.
    net.linear.weight.data *= 3
    net.linear.bias.data *= 0.1
    net.train()
    with torch.no_grad():
        for _ in range(40):
            net(images(generator, 8, arch["inputChannels"], size))
    return net.eval(), generator


def rounded(state, dtype):
    return OrderedDict((k, v.to(dtype) if v.is_floating_point() else v) for k, v in state.items())


def prefixed(state, prefix):
    return OrderedDict((prefix + k, v) for k, v in state.items())


def wrapped(net, generator):
    """What a training script saves: a DistributedDataParallel state dict, an EMA copy, a real optimizer state."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    sum(p.float().square().sum() for p in net.parameters()).backward()
    optimizer.step()
    ema = OrderedDict(
        (k, v + 0.01 * v.abs().mean() * torch.randn(v.shape, generator=generator) if "weight" in k else v.clone())
        for k, v in net.state_dict().items()
    )
    checkpoint = {
        "epoch": 12,
        "arch": "RepVGG-small",
        "best_acc1": 71.25,
        "state_dict": prefixed(net.state_dict(), "module."),
        "ema": ema,
        "optimizer": optimizer.state_dict(),
    }
    return checkpoint, ema


def save_npy(path, tensor, dtype):
    np.save(path, tensor.numpy().astype(dtype), allow_pickle=False)


def make(case, seed):
    folder = ROOT / "test" / "fixtures" / case["name"]
    folder.mkdir(parents=True, exist_ok=True)
    arch, eps, size = case["arch"], case.get("eps", 1e-5), case.get("size", 32)
    container, dtype = case.get("container", "state_dict"), case.get("dtype", "float32")
    net, generator = trained_net(arch, seed, eps, size, case.get("shift", 0.3))
    if dtype == "float16":
        net.load_state_dict(rounded(net.state_dict(), torch.float16))  # values that float16 holds exactly
    checkpoint, ema = wrapped(net, generator) if container == "wrapper" else (None, None)
    if container == "state_dict":
        checkpoint = rounded(net.state_dict(), getattr(torch, dtype))
    elif container == "module":
        checkpoint = net
    prefix = "module." if container == "wrapper" else ""
    legacy = case.get("legacy", False)
    torch.save(checkpoint, folder / "train.pth", _use_new_zipfile_serialization=not legacy)

    x = images(generator, 2, arch["inputChannels"], size)
    save_npy(folder / "x.npy", x, np.float32)

    def deploy(state, suffix):
        twin = RepVGG(arch, eps=eps).eval()
        twin.load_state_dict(state)
        exact = rounded(exact_deploy_state(twin), getattr(torch, dtype))
        kept = prefix if suffix == "" else ""
        torch.save(prefixed(exact, kept), folder / f"deploy{suffix}.pth")
        with torch.no_grad():
            y = twin.double()(x.double())
        save_npy(folder / f"y_train_f64{suffix}.npy", y, np.float64)
        return len(state), len(exact), list(y.shape)

    with torch.no_grad():
        train_keys, deploy_keys, output = deploy(net.state_dict(), "")
        if ema is not None:
            deploy(ema, "-ema")
    record = {
        "case": case["name"],
        "madeBy": {
            "script": "scripts/make-fixtures.py",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "seed": seed,
        },
        "arch": arch,
        "epsilon": eps,
        "checkpoint": {
            "format": "pytorch-legacy" if legacy else "pytorch-zip",
            "container": container,
            "key": "state_dict" if container == "wrapper" else "",
            "prefix": prefix,
            "dtype": dtype,
        },
        "trainKeys": train_keys,
        "deployKeys": deploy_keys,
        "input": [2, arch["inputChannels"], size, size],
        "output": output,
    }
    (folder / "case.json").write_text(json.dumps(record, indent=2) + "\n")


def main():
    torch.set_num_threads(1)
    for index, case in enumerate(CASES):
        make(case, 2000 + 10 * index)
    example = dict(PLAIN, stem=16, stageBlocks=[1, 2, 3, 1], stageWidths=[16, 24, 32, 64])
    net, _ = trained_net(example, 1999, 1e-5, 64)
    target = ROOT / "examples" / "data" / "repvgg-small.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), target)


if __name__ == "__main__":
    main()
