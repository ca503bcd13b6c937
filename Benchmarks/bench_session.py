#!/usr/bin/env python3
"""Training and asking a session transformer, beside Transformers4Rec's in PyTorch: all cores, in turns.

`make bench CASE=session` makes the sessions of Transformers4Rec's tutorial (`larder data make t4rec`; 5 items
of 500 on average, 20 at most). The peer is HuggingFace's XLNetModel as T4Rec configures it, with its inputs,
masks and tied output, on batches of 128 padded to 20 that lie ready; asked, it ranks all items for each
session and takes the best 20, in batches of 512. Larder does the same with `compat: transformers4rec`, padding
and all, and once more without (`masking: mlm`), where nothing is computed for places that hold nothing; its
batches come from its loader. That both compute the same is in the tests: vectors to 1e-5, gradients to 1e-4.
"""
import argparse, json, os, statistics, sys, tempfile, time
from networks import LARDER, ROOT, THREADS, run

PIPELINE = """
feed: t4rec
dataset:
  source: {{ csv: {folder}/sessions/events.csv }}
  columns: {{ user: session_id, item: item_id, time: timestamp }}
  sessions: {{ min-events: 2, last: 20 }}
  features:
    events:
      category: {{ category: category }}
      age: {{ number: age_days, scale: none }}
      weekday: {{ number: weekday_sin, scale: none }}
  split: {{ by: sequences, validation: 0%, test: 0.1%, seed: 1 }}
model: {{ kind: session-transformer, {model}, threads: {threads} }}
predict: {{ for: sessions, k: 20 }}
"""
MODELS = {
    "compat": "compat: transformers4rec",
    "no padding": "masking: mlm, heads: 4, length: 20, learning-rate: 0.0005, clip: 1",
}


def peer(steps):
    """Sessions a second of training and of ranking everything."""
    import numpy as np, torch
    from torch import nn
    from transformers import XLNetConfig, XLNetModel
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    items, categories, width, length = 496, 175, 64, 20

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.item, self.category = nn.Embedding(items, width, padding_idx=0), nn.Embedding(categories, width, padding_idx=0)
            self.continuous = nn.Linear(2, width)
            self.projections = nn.ModuleList([nn.Linear(3 * width, 100), nn.Linear(100, width)])
            self.mask = nn.Parameter(torch.randn(100) * .001)
            self.body = XLNetModel(XLNetConfig(
                vocab_size=1, d_model=width, n_layer=2, n_head=4, d_inner=256, attn_type="bi", ff_activation="gelu",
                initializer_range=.01, layer_norm_eps=.03, dropout=.3, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                mem_len=1, use_mems_train=False, use_mems_eval=False))

        def forward(self, item, category, numbers, masked):
            x = torch.cat([self.category(category), self.continuous(numbers).relu(), self.item(item)], -1)
            x = torch.where(masked[..., None], self.mask, self.projections[0](x).relu())
            h = self.body(inputs_embeds=self.projections[1](x).relu()).last_hidden_state[masked]
            return h @ self.item.weight.T

    draw = np.random.default_rng(1)
    count = 12_800
    lengths = np.clip(draw.poisson(5.2, count), 2, length)
    there = torch.from_numpy(np.arange(length) < lengths[:, None])
    item = torch.from_numpy(draw.integers(3, items, (count, length))) * there
    category = (item % (categories - 3) + 3) * there
    numbers = torch.from_numpy(draw.random((count, length, 2), dtype="f")) * there[..., None]
    last = torch.zeros_like(there)
    last[torch.arange(count), torch.from_numpy(lengths) - 1] = True
    drawn = (torch.rand(count, length) < .15) & there
    one = torch.from_numpy((draw.random(count) * lengths).astype(int))
    drawn[torch.arange(count), one] = True
    model = Model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0)

    def train(step):
        i = step * 128 % (count - 127)
        some = slice(i, i + 128)
        loss = nn.functional.cross_entropy(model(item[some], category[some], numbers[some], drawn[some]), item[some][drawn[some]])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    def ask(step):
        i = step * 512 % (count - 511)
        some = slice(i, i + 512)
        with torch.inference_mode():
            return model(item[some], category[some], numbers[some], last[some]).topk(20).indices

    rates = []
    for body, size, turns in ((train, 128, steps), (ask, 512, steps)):
        model.train(body is train)
        for step in range(5): body(step)
        start = time.perf_counter()
        for step in range(turns): body(step)
        rates.append(size * turns / (time.perf_counter() - start))
    print(json.dumps(rates))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer: return peer(40)
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        peak = os.path.join(folder, "peak")
        run(["cc", "-O2", "-march=native", "-pthread", os.path.join(ROOT, "Benchmarks/peers/peak.c"), "-o", peak])
        run([LARDER, "data", "make", "t4rec", f"{folder}/sessions"])
        contenders = {"torch": lambda: json.loads(run([sys.executable, __file__, "--peer"]))}
        for name, model in MODELS.items():
            for threads in (THREADS, 1):
                path = f"{folder}/{name.replace(' ', '-')}-{threads}.yaml"
                with open(path, "w") as file: file.write(PIPELINE.format(folder=folder, model=model, threads=threads))
                command = [LARDER, "bench", "network", path, "--dataset", f"{folder}/dataset", "--steps", "300", "--json"]
                label = f"larder, {name}" + ("" if threads == THREADS else ", one thread")
                contenders[label] = lambda command=command: [json.loads(line)["value"] for line in run(command).splitlines()[:2]]
        found, peaks = {name: [] for name in contenders}, []
        for _ in range(options.reps):
            for name, measure in contenders.items():
                peaks.append(float(run([peak, "fma"])))
                found[name].append(measure())
        print(f"peak of fused multiply-adds {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s")
        # As written: forward, of which the body is twice four projections, scores, values and the two dense layers.
        inputs, layer = 2 * 64 + 192 * 100 + 100 * 64, 4 * 64 * 64 + 3 * 20 * 64 + 2 * 64 * 256
        with open(os.path.join(ROOT, ".bench/session.jsonl"), "w") as file:
            for place, (what, passes) in enumerate((("training", 3), ("asking", 1))):
                for name in contenders:
                    rates = [values[place] for values in found[name]]
                    ratio = statistics.median(a / b[place] for a, b in zip(rates, found["torch"]))
                    flops = statistics.median(rates) * passes * 2 * 20 * (inputs + 2 * layer) / 1e9
                    print(f"{what:9} {name:32} {statistics.median(rates):9,.0f} sessions/s ({min(rates):,.0f} to {max(rates):,.0f})"
                          f"  {ratio:6.2f} x torch" + (f"  {flops:5.1f} GFLOP/s as written" if "no padding" not in name else ""))
                    if name != "torch":
                        file.write(json.dumps({"case": "session", "what": what, "size": name, "ours": statistics.median(rates),
                                               "peer": "torch", "theirs": statistics.median(v[place] for v in found["torch"]),
                                               "unit": "sessions/s", "ratio": ratio}) + "\n")


if __name__ == "__main__":
    main()
