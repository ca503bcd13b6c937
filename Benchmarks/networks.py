"""What the benchmarks of networks share: data, turns, and whether both learn the same."""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
THREADS = os.cpu_count()
# Some machines hold OpenBLAS to the kernels of lesser processors; PyTorch has its own.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"): os.environ.pop(name, None)


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


class Data:
    """The dataset that larder made."""
    def __init__(self, folder):
        from safetensors.numpy import load_file
        self.events, self.users, self.items = (load_file(f"{folder}/dataset/{name}.safetensors")
                                               for name in ("events", "users", "items"))
        import numpy as np
        offsets = self.events["sequence_offsets"][self.events["user_sequences"]]
        self.user_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))

    def codes(self, entity, columns):
        """The index of each user or item, and the codes of its categories."""
        import numpy as np, torch
        table = getattr(self, entity)
        count = len(table["id_offsets"]) - 1
        return torch.from_numpy(np.stack([np.arange(count)] + [table[f"feature.{c}"] for c in columns], 1).astype(np.int64))


def batches(model, data, size, count):
    """Events at random, as the network wants them."""
    import numpy as np, torch
    draw = np.random.default_rng(1)
    prepare = getattr(model, "prepare", lambda u, i, e: (torch.from_numpy(u), torch.from_numpy(i), torch.from_numpy(e)))
    for _ in range(count):
        events = draw.integers(0, len(data.user_of), size)
        yield prepare(data.user_of[events], data.events["items"][events].astype(np.int64), events)


def peer(network, folder, batch, steps, sparse):
    import torch
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    data = Data(folder)
    model = network(data, sparse)
    warm = max(1, steps // 8)
    ready = list(batches(model, data, batch, steps + warm))
    for some in ready[:warm]: model.step(*some)
    start = time.perf_counter()
    for some in ready[warm:]: model.step(*some)
    print(batch * steps / (time.perf_counter() - start))


def largest_differences(network, folder):
    """Of larder's losses and PyTorch's, from the same weights on the same batches; and of the weights at the
    end, beside how far they moved."""
    import numpy as np, torch
    from safetensors.numpy import load_file
    trace = load_file(f"{folder}/trace.safetensors")
    begin, end = (load_file(f"{folder}/{name}/state.safetensors") for name in ("begin", "end"))
    data = Data(folder)
    ours, theirs = network(data, False, end), network(data, False, begin)
    start = [weight.detach().clone() for weight, _, _ in theirs.weights()]
    prepare = getattr(theirs, "prepare", lambda u, i, e: (torch.from_numpy(u), torch.from_numpy(i), torch.from_numpy(e)))
    losses = 0
    for step in range(len(trace["losses"])):
        users, items, events = (trace[name][step].astype(np.int64) for name in ("users", "items", "events"))
        losses = max(losses, abs(theirs.step(*prepare(users, items, events)) - float(trace["losses"][step])))
    apart, moved = 0, 0
    # All together: a bias that every logit of a softmax has in common moves by rounding only.
    for (a, _, _), (b, _, _), before in zip(ours.weights(), theirs.weights(), start):
        apart += (a - b).square().sum().item()
        moved += (b - before).square().sum().item()
    return losses, (apart / moved) ** .5


def compare(case, doc, batch, pipeline, write, network, flops, steps):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer: return peer(network, options.peer[0], batch, steps, options.peer[1] == "sparse")
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        peak = os.path.join(folder, "peak")
        run(["cc", "-O2", "-march=native", "-pthread", os.path.join(ROOT, "Benchmarks/peers/peak.c"), "-o", peak])
        write(folder)
        for name, threads in (("pipeline", THREADS), ("one", 1)):
            with open(f"{folder}/{name}.yaml", "w") as file:
                file.write(pipeline.format(folder=folder, batch=batch, threads=threads))
        ours = lambda name, count: [LARDER, "bench", "network", f"{folder}/{name}.yaml", "--dataset", f"{folder}/dataset",
                                    "--steps", str(count), "--json"]
        run(ours("pipeline", 20) + ["--trace", folder])
        losses, weights = largest_differences(network, folder)
        is_equal = losses < 1e-4 and weights < 0.01
        print(f"20 steps from the same weights on the same batches: losses differ by at most {losses:.6f}, weights by "
              f"{weights:.5f} of how far they moved")
        first = lambda text: [json.loads(line)["value"] for line in text.splitlines()]
        contenders = {"larder": lambda: first(run(ours("pipeline", steps))), "larder, one thread": lambda: first(run(ours("one", steps)))}
        for kind in ("sparse", "dense"):
            contenders[f"torch, {kind}"] = lambda kind=kind: [float(run([sys.executable, sys.argv[0], "--peer", folder, kind]))]
        speeds, shares, memory = {name: [] for name in contenders}, {name: [] for name in contenders}, []
        for _ in range(options.reps):
            for name, measure in contenders.items():
                before = float(run([peak, "fma"]))
                values = measure()
                limit = (before + float(run([peak, "fma"]))) / 2
                speeds[name].append(values[0])
                shares[name].append(values[0] * flops / 1e9 / limit)
                if name == "larder": memory.append(values[1])
        size = f"batch {batch}"
        for name, values in speeds.items():
            middle = statistics.median(values)
            print(f"{name:24} {middle:10,.0f} examples/s ({min(values):,.0f} to {max(values):,.0f}), as written "
                  f"{middle * flops / 1e9:6.1f} GFLOP/s, {statistics.median(shares[name]):.2f} of the FMA peak")
        print(f"memory above the data: {statistics.median(memory):.0f} MiB")
        with open(os.path.join(ROOT, f".bench/{case}.jsonl"), "w") as file:
            for kind in ("sparse", "dense"):
                theirs = speeds[f"torch, {kind}"]
                ratio = statistics.median(a / b for a, b in zip(speeds["larder"], theirs))
                print(f"larder / torch, {kind}: {ratio:.2f}")
                file.write(json.dumps({"case": case, "size": size, "ours": statistics.median(speeds["larder"]),
                                       "peer": f"torch, {kind}", "theirs": statistics.median(theirs), "unit": "examples/s",
                                       "ratio": ratio, "equal": is_equal}) + "\n")
