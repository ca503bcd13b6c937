#!/usr/bin/env python3
"""Training NVTabular's MovieLens network, beside PyTorch: the same data, the same network, all cores, in turns.

`make bench CASE=rating-mlp` makes ratings of 162,541 users and 56,586 movies with one to five of twenty
genres, and trains embeddings of 512, 512 and 16 (the mean of the genres), three dense layers of 128, one
sigmoid, binary cross entropy, SGD, 32,768 ratings a step. PyTorch's embeddings have sparse gradients (only
the batch's rows are moved) or dense ones. Before that, larder writes what one step left of its weights, and
PyTorch repeats the next steps on the same batches: "equal" means the same losses to one in ten thousand, and
weights whose differences are less than a hundredth of how far they moved.
"""
from networks import compare

MOVIES, USERS, GENRES = 56_586, 162_541, 20
PIPELINE = """
feed: bench
dataset:
  source: {{ csv: {folder}/events.csv }}
  columns: {{ user: user, item: item }}
  items: {{ csv: {folder}/items.csv, item: item }}
  features:
    items: {{ genres: {{ category: genres, list: "|" }} }}
    events: {{ rating: {{ number: rating }} }}
  split: {{ by: users, test: 0.001, seed: 1 }}
model: {{ kind: popularity }}
rank:
  {{ kind: rating-mlp, label: rating >= 4, layers: [128, 128, 128], optimizer: sgd, learning-rate: 0.1,
    batch: {batch}, epochs: 100, patience: 0, threads: {threads} }}
predict: {{ for: users }}
"""


def write(folder):
    import numpy as np
    draw = np.random.default_rng(5)
    count = 32_768 * 40
    movies = np.minimum((draw.pareto(.9, count) * 200).astype(int), MOVIES - 1)
    # Everyone and everything at least once, so that the tables are as large as they are to be.
    movies[:MOVIES] = np.arange(MOVIES)
    users = draw.integers(0, USERS, count)
    users[:USERS] = draw.permutation(USERS)
    ratings = np.where(draw.random(count) < .6, 4.5, 2.5)
    with open(f"{folder}/items.csv", "w") as file:
        file.write("item,genres\n")
        for movie in range(MOVIES):
            file.write(f"{movie},{'|'.join('g%d' % g for g in draw.choice(GENRES, draw.integers(1, 6), replace=False))}\n")
    with open(f"{folder}/events.csv", "w") as file:
        file.write("user,item,rating\n")
        file.writelines(f"{u},{i},{r}\n" for u, i, r in zip(users.tolist(), movies.tolist(), ratings.tolist()))


class RatingMLP:
    """Of the dataset that larder made; a batch is rows of users, items and events."""
    def __init__(self, data, sparse, state=None):
        import numpy as np, torch
        self.labels = torch.from_numpy((data.events["feature.rating"] >= 4).astype(np.float32))
        self.values, self.offsets = (data.items[f"feature.genres_{part}"] for part in ("values", "offsets"))
        self.sizes = [len(data.users["id_offsets"]), len(data.items["id_offsets"]), int(self.values.max()) + 1]
        self.users = torch.nn.Embedding(self.sizes[0], 512, sparse=sparse)
        self.items = torch.nn.Embedding(self.sizes[1], 512, sparse=sparse)
        self.genres = torch.nn.EmbeddingBag(self.sizes[2], 16, mode="mean")
        widths = [1040, 128, 128, 128, 1]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        tables = [self.users, self.items, self.genres]
        for table in tables: torch.nn.init.normal_(table.weight, std=.02)
        self.optimiser = torch.optim.SGD([p for m in (*tables, *self.layers) for p in m.parameters()], lr=.1)
        if state: self.restore(state)

    def restore(self, state):
        import numpy as np, torch
        # One matrix there, two in larder.
        state = dict(state)
        state["first.weight"] = np.concatenate([state["users.first.weight"], state["items.first.weight"]])
        with torch.no_grad():
            for weight, name, turned in self.weights():
                value = state[name].T if turned else state[name]
                weight.copy_(torch.from_numpy(value[:weight.shape[0]].reshape(weight.shape).copy()))

    def weights(self):
        """Each with its name in larder's state, and whether it lies the other way there."""
        for table, name in ((self.users, "users"), (self.items, "items"), (self.genres, "items.genres")):
            yield table.weight, name, False
        yield self.layers[0].weight, "first.weight", True
        yield self.layers[0].bias, "users.first.bias", False
        for i in (1, 2, 3):
            yield self.layers[i].weight, f"layer.{i - 1}.weight", True
            yield self.layers[i].bias, f"layer.{i - 1}.bias", False

    def bags(self, items):
        """The genres of these, side by side, as a loader would have laid them out beforehand."""
        import numpy as np, torch
        starts, ends = self.offsets[items], self.offsets[items + 1]
        lengths = ends - starts
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        places = np.repeat(starts - first, lengths) + np.arange(lengths.sum())
        return torch.from_numpy(self.values[places].astype(np.int64)), torch.from_numpy(first)

    def prepare(self, users, items, events):
        import torch
        return torch.from_numpy(users), torch.from_numpy(items), *self.bags(items), self.labels[torch.from_numpy(events)]

    def step(self, users, items, values, offsets, labels):
        import torch
        x = torch.cat([self.users(users), self.items(items), self.genres(values, offsets)], 1)
        for layer in self.layers[:-1]: x = layer(x).relu()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.layers[-1](x).squeeze(1), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item()


FLOPS = 3 * 2 * (1040 * 128 + 2 * 128 * 128 + 128)

if __name__ == "__main__":
    compare("rating-mlp", __doc__, 32_768, PIPELINE, write, RatingMLP, FLOPS, steps=20)
