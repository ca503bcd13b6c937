#!/usr/bin/env python3
"""What `Benchmarks/gpu.sh` measures, by others on the same card: PyTorch, eager and compiled, and faiss, where they are
installed. In 32 bits, as Larder computes; batches lie ready on the card; the data is that of Larder's runs.

    peers.py DATASET          all of it
    peers.py DATASET --device cpu --queries 1000 --items 2000 --batches 64 --steps 2      whether it runs, without a card

Top-k: a product of a block of queries with all items, and torch.topk; faiss' flat index. two-tower: embeddings of 64
for each column, towers of 128 and 64, lengths of one, a softmax over the batch's items less logQ, Adagrad.
Sessions: what Larder reads of each event, two causal layers of PyTorch's own (positions are learned: its attention is the
lighter one), a softmax over all items, AdamW.
"""
import argparse, json, time
import numpy as np, torch
from torch import nn
from torch.nn import functional

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset")
parser.add_argument("--device", default="cuda:0")
parser.add_argument("--queries", type=int, default=1_370_000)
parser.add_argument("--items", type=int, default=105_000)
parser.add_argument("--batches", type=int, nargs="*", help="of both, instead of those of gpu.sh")
parser.add_argument("--steps", type=int, default=100)
options = parser.parse_args()
device = torch.device(options.device)
torch.backends.cuda.matmul.allow_tf32 = False
torch.manual_seed(0)


def table(name):
    """The tensors of a safetensors file, by name."""
    kinds = {"I64": np.int64, "I32": np.int32, "F32": np.float32, "U8": np.uint8, "I8": np.int8}
    data = np.memmap(f"{options.dataset}/{name}.safetensors", np.uint8, "r")
    size = int(data[:8].view(np.int64)[0])
    header = json.loads(bytes(data[8:8 + size]))
    return {name: data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]].view(kinds[t["dtype"]])
            for name, t in header.items() if name != "__metadata__"}


def wait():
    if device.type == "cuda": torch.cuda.synchronize()


def seconds(body, turns):
    """Of a turn, after some that are not counted: compilers work in those."""
    for turn in range(max(2, turns // 10)): body(turn)
    wait()
    start = time.perf_counter()
    for turn in range(turns): body(turn)
    wait()
    return (time.perf_counter() - start) / turns


# Top-k -------------------------------------------------------------------------------------------------------

def top_k(depth=64, k=10):
    queries, items = (torch.randn(n, depth, device=device) for n in (options.queries, options.items))
    tera = 2 * options.queries * options.items * depth / 1e12
    for block in (4096, 16384):
        def search(_):
            for i in range(0, options.queries, block): torch.topk(queries[i:i + block] @ items.T, k)
        took = seconds(search, 2)
        print(f"top-k, torch, {block} queries at a time: {took:.2f} s, {tera / took:.1f} TFLOP/s", flush=True)
    try:
        import faiss
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), depth)
    except (ImportError, AttributeError): return print("there is no faiss for a GPU here")
    index.add(items.cpu().numpy())
    host = queries.cpu().numpy()
    took = seconds(lambda _: index.search(host, k), 2)
    print(f"top-k, faiss: {took:.2f} s, {tera / took:.1f} TFLOP/s", flush=True)


# Networks ----------------------------------------------------------------------------------------------------

class Columns(nn.Module):
    """Rows of a table as vectors: embeddings side by side, then numbers."""
    def __init__(self, table, names, lists, numbers, count=None, sparse=False):
        super().__init__()
        at = lambda name: torch.from_numpy(np.array(table[f"feature.{name}"])).to(device)
        self.codes = ([torch.arange(count, device=device)] if count else []) + [at(name).long() for name in names]
        self.tables = nn.ModuleList(nn.Embedding(int(c.max()) + 1, 64, sparse=sparse) for c in self.codes)
        self.lists = []
        for name in lists:
            ends = torch.from_numpy(np.array(table[f"feature.{name}_offsets"])).long()
            codes, longest = at(f"{name}_values").long().cpu(), int((ends[1:] - ends[:-1]).max())
            # Padded with a code of its own.
            padded = torch.full((len(ends) - 1, longest), int(codes.max()) + 1)
            rows = torch.repeat_interleave(torch.arange(len(ends) - 1), ends[1:] - ends[:-1])
            padded[rows, torch.arange(len(codes)) - ends[:-1][rows]] = codes
            self.lists.append(padded.to(device))
        self.bags = nn.ModuleList(nn.EmbeddingBag(int(p.max()) + 1, 64, mode="mean", padding_idx=int(p.max()), sparse=sparse)
                                  for p in self.lists)
        self.numbers = [at(name).float()[:, None] for name in numbers]
        self.width = 64 * (len(self.codes) + len(self.lists)) + len(self.numbers)

    def forward(self, rows):
        parts = [table(codes[rows]) for table, codes in zip(self.tables, self.codes)]
        parts += [bag(padded[rows]) for bag, padded in zip(self.bags, self.lists)]
        return torch.cat(parts + [column[rows] for column in self.numbers], 1)


def tower(width):
    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64))


def learner(loss_of, optimiser, ready):
    """A step on the batch whose turn it is; it waits for its loss, as Larder's do."""
    def step(turn):
        loss = loss_of(*ready[turn % len(ready)])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()
    return step


def measure(name, batch, step, unit):
    took = seconds(step, options.steps)
    print(f"{name}: {batch / took:,.0f} {unit}/s, {1000 * took:.2f} ms a step", flush=True)


def both(name, make, batch, unit):
    """Eager and compiled."""
    measure(f"{name}, torch eager", batch, make(lambda body: body), unit)
    if device.type == "cuda": measure(f"{name}, torch.compile", batch, make(torch.compile), unit)


def two_tower(batch, data):
    users, items, events, owners = data
    counts = np.bincount(events["items"], minlength=len(items["id_offsets"]) - 1)
    log_share = torch.from_numpy(np.log(np.maximum(counts, 1) / counts.sum() * batch)).float().to(device)
    draw = np.random.default_rng(1)
    picked = [draw.integers(0, len(events["items"]), batch) for _ in range(20)]
    ready = [(torch.from_numpy(owners[p]).to(device), torch.from_numpy(np.array(events["items"][p])).long().to(device)) for p in picked]
    for sparse in (True, False):
        def make(compile):
            own = Columns(users, ["country"], [], ["age", "spend"], len(users["id_offsets"]) - 1, sparse).to(device)
            other = Columns(items, ["category", "brand"], ["tags"], ["price"], len(items["id_offsets"]) - 1, sparse).to(device)
            towers = nn.ModuleList([tower(own.width), tower(other.width)]).to(device)
            optimiser = torch.optim.Adagrad([*own.parameters(), *other.parameters(), *towers.parameters()], lr=.05)

            def loss_of(u, i):
                q, c = (functional.normalize(t(x), dim=1) for t, x in zip(towers, (own(u), other(i))))
                logits = q @ c.T / .05 - log_share[i]
                same = (i[:, None] == i) & ~torch.eye(len(i), dtype=torch.bool, device=device)
                return functional.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(i), device=device))
            return learner(compile(loss_of), optimiser, ready)
        both(f"two-tower, batch {batch}, {'sparse' if sparse else 'dense'} gradients", make, batch, "examples")


def sessions(batch, data):
    users, items, events, owners = data
    offsets = np.array(events["sequence_offsets"])
    long = np.flatnonzero(np.diff(offsets) >= 2)
    draw = np.random.default_rng(1)
    ready = []
    for _ in range(20):
        picked = draw.choice(long, batch)
        length = min(50, int((offsets[picked + 1] - offsets[picked]).max()) - 1)
        places = np.minimum(np.maximum(offsets[picked], offsets[picked + 1] - 1 - length)[:, None] + np.arange(length + 1), offsets[picked + 1, None] - 1)
        there = np.arange(length) < (offsets[picked + 1] - 1 - offsets[picked])[:, None]
        ready.append([torch.from_numpy(np.array(x)).to(device) for x in (events["items"][places[:, :-1]], places[:, :-1], events["items"][places[:, 1:]], there)])

    def make(compile):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.item = nn.Embedding(len(items["id_offsets"]) - 1, 64)
                self.of_items = Columns(items, ["category", "brand"], ["tags"], ["price"])
                self.of_events = Columns(events, ["event", "device"], [], ["hour_sin", "hour_cos"])
                self.bring = nn.Linear(64 + self.of_items.width + self.of_events.width, 64)
                self.place = nn.Parameter(torch.randn(50, 64) * .02)
                layer = nn.TransformerEncoderLayer(64, 2, 256, .3, "gelu", batch_first=True)
                self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

            def forward(self, read, places, wanted, there):
                shape = (*read.shape, -1)
                x = torch.cat([self.item(read.long()), self.of_items(read.flatten().long()).view(shape),
                               self.of_events(places.flatten()).view(shape)], -1)
                x = self.bring(x) + self.place[:read.shape[1]]
                mask = nn.Transformer.generate_square_subsequent_mask(read.shape[1], device=device)
                vectors = self.body(x, mask=mask, is_causal=True)[there]
                return functional.cross_entropy(vectors @ self.item.weight.T, wanted[there].long())
        model = Model().to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=.001, weight_decay=0)
        return learner(compile(model), optimiser, ready)
    both(f"sessions, batch {batch}", make, batch, "sessions")


users, items, events = (table(name) for name in ("users", "items", "events"))
starts = events["sequence_offsets"][events["user_sequences"]]
data = users, items, events, np.repeat(np.arange(len(starts) - 1), np.diff(starts))
top_k()
for batch in options.batches or (4096, 16384, 65536): two_tower(batch, data)
for batch in options.batches or (128, 1024, 4096): sessions(batch, data)
