#!/usr/bin/env python3
"""Merlin's TwoTowerModelV2 in PyTorch, on the data and weights that TwoTowerTests.swift makes too.

Prints the losses of 20 steps, which the test holds ours against. Needs torch, which the tests do not:

    python3 Tests/merlin_two_tower.py

As in merlin-models 23.12: one logit for the positive, then one for each item of the batch, of which
those of the positive's own id become -655.04; categorical cross entropy with the positive first; towers
with ReLU behind every layer; lists pooled by their mean; Keras' Adagrad.
"""
import torch
from torch import nn

USERS, ITEMS, WIDTH = 40, 24, 8
# Codes: 0 padding, 1 missing, 2 unknown, from 3 on by frequency.
GROUP = [3 if u % 10 < 4 else 4 if u % 10 < 7 else 5 if u % 10 < 9 else 6 for u in range(USERS)]
TAGS = [[1] if i == 5 else [3] + [4] * (i % 2 == 0) + [5] * (i % 4 == 0) + [6] * (i % 8 == 0)
        for i in range(ITEMS)]
PRICE = torch.tensor([[i * 0.1] for i in range(ITEMS)])


class Tower(nn.Module):
    def __init__(self, codes, numbers):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, WIDTH) for n in codes)
        self.layers = nn.ModuleList([nn.Linear(WIDTH * len(codes) + numbers, 12), nn.Linear(12, 6)])

    def dense(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return x


user, item = Tower([USERS + 1, 7], 0), Tower([ITEMS + 1, 7], 1)
number = 0
with torch.no_grad():
    for tower in (user, item):
        for weight in [t.weight for t in tower.tables] + \
                      [w for layer in tower.layers for w in (layer.weight.T, layer.bias)]:
            scale = 3.0 if weight.shape in ((16, 12), (17, 12), (12, 6)) else 0.1
            place = torch.arange(weight.numel()) * 31 + number * 17
            weight.copy_(((place % 97) / 97 - 0.4).mul(scale).reshape(weight.shape))
            number += 1
optimiser = torch.optim.Adagrad([*user.parameters(), *item.parameters()], lr=0.02,
                                initial_accumulator_value=0.1, eps=1e-7)
for step in range(20):
    u = torch.tensor([(step * 7 + k * 11) % USERS for k in range(32)])
    i = torch.tensor([(int(u[k]) * 5 + k) % ITEMS for k in range(32)])
    q = user.dense(torch.cat([user.tables[0](u), user.tables[1](torch.tensor([GROUP[x] for x in u]))], 1))
    tags = torch.stack([item.tables[1](torch.tensor(TAGS[x])).mean(0) for x in i])
    c = item.dense(torch.cat([item.tables[0](i), tags, PRICE[i]], 1))
    negatives = (q @ c.T).masked_fill(i[:, None] == i[None, :], -655.04)
    logits = torch.cat([(q * c).sum(1, keepdim=True), negatives], 1)
    loss = nn.functional.cross_entropy(logits, torch.zeros(32, dtype=torch.long))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    print(f"{loss.item():.6f},")
