#!/usr/bin/env python3
"""Transformers4Rec's XLNet session model in PyTorch, on the data and weights that SessionTransformerTests.swift
makes too.

Prints what the test holds ours against: vectors of masked positions, gradients of some weights, and the losses of ten
steps. Needs torch and transformers, which the tests do not:

    python3 Tests/transformers4rec_sessions.py

The body is HuggingFace's XLNetModel as T4Rec's XLNetConfig.build makes it; no attention mask is passed, so padding is
attended to; the logits are over the whole table of items, padding, null and unknown included; AdamW; gradients are
clipped to a length of one. Dropout is off: its places cannot be the same.
"""
import torch
from torch import nn
from transformers import XLNetConfig, XLNetModel

ITEMS, GROUPS, WIDTH, LENGTH, BATCH = 24, 7, 8, 6, 5
torch.set_default_dtype(torch.float32)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(ITEMS + 3, WIDTH, padding_idx=0)
        self.group = nn.Embedding(GROUPS, WIDTH, padding_idx=0)
        self.continuous = nn.Linear(1, WIDTH)
        self.projections = nn.ModuleList([nn.Linear(3 * WIDTH, 100), nn.Linear(100, WIDTH)])
        self.mask = nn.Parameter(torch.zeros(100))
        self.body = XLNetModel(XLNetConfig(
            vocab_size=1, d_model=WIDTH, n_layer=2, n_head=2, d_inner=12, attn_type="bi", ff_activation="gelu",
            dropout=0.0, layer_norm_eps=0.03, pad_token_id=0, mem_len=1, use_mems_train=False, use_mems_eval=False))

    def weights(self):
        """In the order of ours, each as it lies there: inputs × outputs."""
        yield "items", self.item.weight
        yield "category", self.group.weight
        yield "weight", self.continuous.weight.T
        yield "bias", self.continuous.bias
        for layer in self.projections:
            yield "weight", layer.weight.T
            yield "bias", layer.bias
        yield "mask", self.mask
        for layer in self.body.layer:
            a, f = layer.rel_attn, layer.ff
            flat = lambda w: w.reshape(WIDTH, WIDTH)
            yield "weight", flat(a.q)
            yield "weight", (flat(a.k), flat(a.v))
            yield "weight", flat(a.r)
            yield "weight", flat(a.o).T
            yield "bias", a.r_w_bias
            yield "bias", a.r_r_bias
            yield "gain", a.layer_norm.weight
            yield "bias", a.layer_norm.bias
            for linear in (f.layer_1, f.layer_2):
                yield "weight", linear.weight.T
                yield "bias", linear.bias
            yield "gain", f.layer_norm.weight
            yield "bias", f.layer_norm.bias

    def forward(self, items, groups, numbers, masked):
        x = torch.cat([self.group(groups), self.continuous(numbers[..., None]).relu(), self.item(items)], -1)
        x = self.projections[0](x).relu()
        x = torch.where(masked[..., None], self.mask, x)
        x = self.projections[1](x).relu()
        return self.body(inputs_embeds=x).last_hidden_state[masked]


def values(name, number, rows, columns):
    scale, middle = {"gain": (0.5, 1.0), "bias": (0.5, 0.0)}.get(name, (1.6, 0.0))
    place = torch.arange(rows * columns) * 31 + number * 17
    return ((((place % 97) / 97 - 0.5) * scale) + middle).reshape(rows, columns)


model = Model()
with torch.no_grad():
    for number, (name, weight) in enumerate(model.weights()):
        if isinstance(weight, tuple):
            both = values(name, number, WIDTH, 2 * WIDTH)
            for half, w in zip((both[:, :WIDTH], both[:, WIDTH:]), weight):
                w.copy_(half)
        else:
            weight.copy_(values(name, number, 1, weight.numel()).reshape(weight.shape))

optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0)


def batch(step):
    items, groups, numbers = torch.zeros(BATCH, LENGTH, dtype=torch.long), torch.zeros(BATCH, LENGTH, dtype=torch.long), torch.zeros(BATCH, LENGTH)
    masked = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    for s in range(BATCH):
        for p in range(2 + (step + s) % 5):
            item = (step * 7 + s * 5 + p * 3) % ITEMS
            items[s, p], groups[s, p], numbers[s, p] = item + 3, 3 + item % 4, (item % 5) * 0.2 - 0.4
        masked[s, (step + s) % 2] = True
    return items, groups, numbers, masked


for step in range(10):
    items, groups, numbers, masked = batch(step)
    vectors = model(items, groups, numbers, masked)
    loss = nn.functional.cross_entropy(vectors @ model.item.weight.T, items[masked])
    optimiser.zero_grad()
    loss.backward()
    if step == 0:
        print("vectors", [round(v, 7) for v in vectors.flatten().tolist()])
        body = model.body.layer[0]
        for name, gradient in [
            ("items", model.item.weight.grad), ("category.group", model.group.weight.grad),
            ("continuous.weight", model.continuous.weight.grad.T), ("mask", model.mask.grad),
            ("projection.0.bias", model.projections[0].bias.grad),
            ("layer.0.attention.query.weight", body.rel_attn.q.grad), ("layer.0.attention.position.weight", body.rel_attn.r.grad),
            ("layer.0.attention.content-bias", body.rel_attn.r_w_bias.grad),
            ("layer.0.attention.position-bias", body.rel_attn.r_r_bias.grad),
            ("layer.1.attention.output.weight", model.body.layer[1].rel_attn.o.grad.reshape(WIDTH, WIDTH).T),
            ("layer.0.first.bias", body.ff.layer_1.bias.grad), ("layer.1.norm.gain", model.body.layer[1].ff.layer_norm.weight.grad),
        ]:
            flat = gradient.flatten()
            # The length and two sums that see order and sign.
            weights = torch.arange(1, len(flat) + 1) % 7 - 3.0
            print(f'"{name}": [{flat.norm().item():.8f}, {flat.sum().item():.8f}, {(flat * weights).sum().item():.8f}],')
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    print(f"{loss.item():.6f},")
