"""Repeats a recorded training run of ours with PyTorch, in float64 and in float32.

    python train_check.py FOLDER       → one JSON object on stdout

FOLDER (written by train.test.ts): start.pth, gradient.pth (of the first step), after_one.pth, end.pth, images.npy,
labels.npy, run.json {arch, batch, smoothing, optimizer, rates, losses}. Works with PyTorch 1.13 and 2.x.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import repvgg  # noqa: E402


def relative(ours, exact):
    """Relative L2 distance; of the absolute one where the exact value is (nearly) zero."""
    ours, exact = ours.double().flatten(), exact.double().flatten()
    return (ours - exact).norm().item() / max(exact.norm().item(), 1e-3)


def make_optimizer(model, run):
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        (decayed if parameter.dim() > 1 or name.endswith("rbr_identity.weight") else plain).append(parameter)
    options = dict(run["optimizer"])
    kind, decay = options.pop("type"), options.pop("weightDecay")
    groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=options["momentum"], nesterov=options["nesterov"])
    betas = (options["beta1"], options["beta2"])
    return torch.optim.AdamW(groups, lr=1.0, betas=betas, eps=options["epsilon"])


def train(folder, run, dtype):
    model = repvgg.RepVGG(run["arch"])
    model.load_state_dict(torch.load(folder / "start.pth"), strict=True)
    model = model.to(dtype).train()
    optimizer = make_optimizer(model, run)
    loss_of = nn.CrossEntropyLoss(label_smoothing=run["smoothing"])
    images = torch.from_numpy(np.load(folder / "images.npy")).to(dtype)
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    batch, losses, gradient, after_one = run["batch"], [], {}, {}
    for step, rate in enumerate(run["rates"]):
        for group in optimizer.param_groups:
            group["lr"] = rate
        part = slice(step * batch, (step + 1) * batch)
        optimizer.zero_grad()
        loss = loss_of(model(images[part]), labels[part])
        loss.backward()
        if step == 0:
            gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
        if step == 0:
            after_one = {name: value.clone() for name, value in model.state_dict().items()}
    return losses, gradient, after_one, model.state_dict()


def worst(ours, exact):
    names = sorted(exact, key=lambda name: -relative(ours[name], exact[name]))
    return {"name": names[0], "distance": relative(ours[names[0]], exact[names[0]])}


def main():
    folder = Path(sys.argv[1])
    run = json.loads((folder / "run.json").read_text())
    exact_losses, exact_gradient, exact_one, exact_end = train(folder, run, torch.float64)
    losses, gradient, one, end = train(folder, run, torch.float32)
    load = lambda name: torch.load(folder / name)  # noqa: E731
    ours_gradient, ours_one, ours_end = load("gradient.pth"), load("after_one.pth"), load("end.pth")
    fresh = repvgg.RepVGG(run["arch"])
    fresh.load_state_dict(ours_end, strict=True)
    statistics = [name for name in exact_one if "running" in name]
    pick = lambda state: {name: state[name] for name in statistics}  # noqa: E731
    counters = [int(v) for name, v in ours_end.items() if name.endswith("num_batches_tracked")]
    gap = lambda values: max(abs(a - b) / max(abs(b), 1) for a, b in zip(values, exact_losses))  # noqa: E731
    print(
        json.dumps(
            {
                "names": sorted(ours_gradient) == sorted(exact_gradient),
                "gradient": {"ours": worst(ours_gradient, exact_gradient), "torch": worst(gradient, exact_gradient)},
                "statistics": {"ours": worst(pick(ours_one), pick(exact_one)), "torch": worst(pick(one), pick(exact_one))},
                "losses": {"ours": gap(run["losses"]), "torch": gap(losses), "steps": len(losses)},
                "end": {"ours": worst(ours_end, exact_end), "torch": worst(end, exact_end)},
                "counters": sorted(set(counters)),
                "expectedCounters": len(run["rates"]),
            }
        )
    )


main()
