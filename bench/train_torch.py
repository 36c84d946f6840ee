"""The PyTorch side of bench/train.ts: for each line on stdin, runs that many training steps and prints seconds.

    python train_torch.py THREADS BATCH STEM_STRIDE

The last line, for `end`, is the peak memory in MiB.
"""

import resource
import sys
import time

import torch
from torch import nn

threads, batch, stem_stride = (int(argument) for argument in sys.argv[1:4])
torch.set_num_threads(threads)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.dense = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.pointwise = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.identity = nn.BatchNorm2d(outputs) if inputs == outputs and stride == 1 else None

    def forward(self, x):
        y = self.dense(x) + self.pointwise(x)
        return torch.relu(y if self.identity is None else y + self.identity(x))


def make_net():
    layers, width = [Block(1, 32, stem_stride)], 32
    for blocks, outputs in zip([1, 2, 2, 1], [32, 64, 128, 128]):
        for i in range(blocks):
            layers.append(Block(width, outputs, 2 if i == 0 else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


net = make_net().train()
optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
images, labels = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))
print(torch.__version__, sum(parameter.numel() for parameter in net.parameters()), flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        break
    start = time.perf_counter()
    for _ in range(int(line)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    print(time.perf_counter() - start, flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
