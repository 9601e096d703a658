"""A problem in KernelBench's format: a linear layer with ReLU, and a solution that adds the bias inside the product."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x):
        return torch.relu(self.linear(x))


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x):
        return torch.addmm(self.linear.bias, x, self.linear.weight.t()).relu_()


def get_inputs():
    return [torch.rand(129, 127)]


def get_init_inputs():
    return [127]
