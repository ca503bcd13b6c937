#!/usr/bin/env python3
"""Training a two-tower model, beside PyTorch: the same data, the same network, all cores, in turns.

`make bench CASE=two-tower` makes a million events of 100,000 users with three categories and 50,000 items,
met as in a shop, with two. Both train an embedding of 64 for each column, towers [128, 64], softmax over
the 4,096 items of the batch, Adagrad. PyTorch's embeddings have sparse gradients (only the batch's rows
are moved) or dense ones. Before that, larder writes what one step left of its weights, and PyTorch repeats
the next twenty on the same batches: "equal" means the same losses to one in ten thousand, and weights whose
differences are less than a hundredth of how far they moved.
"""
from networks import compare

USERS, ITEMS = (100_000, 7, 21, 2), (50_000, 100, 1000)
PIPELINE = """
feed: bench
dataset:
  source: {{ csv: {folder}/events.csv }}
  columns: {{ user: user, item: item }}
  users: {{ csv: {folder}/users.csv, user: user }}
  items: {{ csv: {folder}/items.csv, item: item }}
  features:
    users: {{ a: {{ category: a }}, b: {{ category: b }}, c: {{ category: c }} }}
    items: {{ d: {{ category: d }}, e: {{ category: e }} }}
  split: {{ by: users, test: 0.001, seed: 1 }}
model:
  {{ kind: two-tower, embedding: 64, towers: [128, 64], optimizer: adagrad, learning-rate: 0.05,
    batch: {batch}, epochs: 100, accidental-hits: keep, normalize: false,
    temperature: 1, logq: false, patience: 0, threads: {threads} }}
predict: {{ for: users }}
"""


def write(folder):
    import numpy as np
    draw = np.random.default_rng(3)
    users = draw.integers(0, USERS[0], 1_000_000)
    items = np.minimum((draw.pareto(1.1, 1_000_000) * 300).astype(int), ITEMS[0] - 1)
    for name, entity, sizes, columns in (("users", "user", USERS, "abc"), ("items", "item", ITEMS, "de")):
        features = np.stack([draw.integers(0, size, sizes[0]) for size in sizes[1:]], 1)
        with open(f"{folder}/{name}.csv", "w") as file:
            file.write(",".join([entity, *columns]) + "\n")
            file.writelines(",".join(map(str, (i, *row))) + "\n" for i, row in enumerate(features.tolist()))
    with open(f"{folder}/events.csv", "w") as file:
        file.write("user,item\n")
        file.writelines(f"{u},{i}\n" for u, i in zip(users.tolist(), items.tolist()))


class TwoTower:
    """Of the dataset that larder made; a batch is rows of users and of items."""
    def __init__(self, data, sparse, state=None):
        import torch
        self.codes = {"users": data.codes("users", "abc"), "items": data.codes("items", "de")}
        self.sides = {}
        for side, prefix in (("users", "user-tower"), ("items", "item-tower")):
            sizes = [len(self.codes[side]) + 1] + [int(c.max()) + 1 for c in self.codes[side].T[1:]]
            names = [side] + [f"{side}.{c}" for c in ("abc" if side == "users" else "de")]
            tables = torch.nn.ModuleList(torch.nn.Embedding(n, 64, sparse=sparse) for n in sizes)
            layers = torch.nn.Sequential(torch.nn.Linear(64 * len(sizes), 128), torch.nn.ReLU(), torch.nn.Linear(128, 64))
            for table in tables: torch.nn.init.normal_(table.weight, std=.05)
            self.sides[side] = tables, layers, names, prefix
        self.optimiser = torch.optim.Adagrad([p for t, l, _, _ in self.sides.values() for p in (*t.parameters(), *l.parameters())],
                                             lr=.05, initial_accumulator_value=.1, eps=1e-7)
        if state: self.restore(state)

    def restore(self, state):
        """Weights and sums of squares."""
        import torch
        with torch.no_grad():
            for weight, name, turned in self.weights():
                for to, key in ((weight, name), (self.optimiser.state[weight]["sum"], "state." + name)):
                    value = state[key].T if turned else state[key]
                    # Tables may have codes that no event has.
                    to.copy_(torch.from_numpy(value[:to.shape[0]].reshape(to.shape).copy()))

    def weights(self):
        """Each with its name in larder's state, and whether it lies the other way there."""
        for tables, layers, names, prefix in self.sides.values():
            for table, name in zip(tables, names): yield table.weight, name, False
            for i, layer in enumerate((layers[0], layers[2])):
                yield layer.weight, f"{prefix}.{i}.weight", True
                yield layer.bias, f"{prefix}.{i}.bias", False

    def vectors(self, side, rows):
        import torch
        tables, layers, _, _ = self.sides[side]
        codes = self.codes[side][rows]
        return layers(torch.cat([table(codes[:, i]) for i, table in enumerate(tables)], 1))

    def step(self, users, items, events):
        import torch
        logits = self.vectors("users", users) @ self.vectors("items", items).T
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(users)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item()


# Forward and backward: three times the products of both towers and of the logits, two flops each.
FLOPS = 3 * 2 * (64 * 4 * 128 + 128 * 64 + 64 * 3 * 128 + 128 * 64 + 4096 * 64)

if __name__ == "__main__":
    compare("two-tower", __doc__, 4096, PIPELINE, write, TwoTower, FLOPS, steps=40)
