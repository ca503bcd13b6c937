#!/usr/bin/env python3
"""Exact top-k, beside faiss-cpu and torch: the same queries and items, all cores, in turns.

`make bench CASE=topk` draws standard normal vectors, and in each round lets every contender find the k best
items of the queries in a process of its own, with the machine's peak of fused multiply-adds measured right
before and after. Packing of the items is in our time; adding them to an index is not in faiss'. The lists
are compared: "equal" means the same items, or others whose scores in float64 differ by rounding only.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
THREADS = os.cpu_count()
# Queries, items, depth, k. The queries of one measurement are fewer than the users of such a shop.
SHAPES = ["25000x105000x64x10", "10000x316000x48x100", "10000x56000x512x10"]
OURS = {"larder, 32-bit": "float32", "larder, 8-bit first": "int8"}
PEERS = ["faiss", "faiss, queries split over single-threaded workers", "torch"]


# The peers, each in a process of its own -------------------------------------------------------------------

def halves(search, queries):
    import numpy as np
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(search, np.array_split(queries, THREADS))))


def faiss(queries, items, k, split):
    import faiss
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    faiss.omp_set_num_threads(1 if split else THREADS)
    faiss.cvar.distance_compute_blas_threshold = 1
    search = lambda some: index.search(some, k)[1]
    run = (lambda some: halves(search, some)) if split else search
    # The two sizes of blocks that a user may set, tried out on a part.
    best = None
    for block in [(4096, 1024), (1024, 1024), (4096, 512), (1024, 512)]:
        faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = block
        start = time.perf_counter()
        run(queries[:2048])
        took = time.perf_counter() - start
        if best is None or took < best[0]: best = took, block
    faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = best[1]
    return run


def torch(queries, items, k):
    import torch
    torch.set_num_threads(THREADS)
    columns = torch.from_numpy(items).T

    def run(some, block=256):
        some = torch.from_numpy(some)
        return torch.cat([torch.topk(some[i:i + block] @ columns, k).indices for i in range(0, len(some), block)]).numpy()
    run(queries[:2048])
    return run


def peer(name, depth, k, folder):
    import numpy as np
    queries, items = (np.fromfile(os.path.join(folder, f), np.float32).reshape(-1, depth) for f in ("queries", "items"))
    run = torch(queries, items, k) if name == "torch" else faiss(queries, items, k, name != "faiss")
    start = time.perf_counter()
    found = run(queries)
    took = time.perf_counter() - start
    found.astype(np.int32).tofile(os.path.join(folder, "theirs"))
    print(2 * len(queries) * len(items) * depth / took / 1e9)


# The comparison ---------------------------------------------------------------------------------------------

def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


def same(folder, depth, k):
    """The share of lists that are the same to the last place; an error if one differs by more than rounding."""
    import numpy as np
    queries, items = (np.fromfile(os.path.join(folder, f), np.float32).reshape(-1, depth) for f in ("queries", "items"))
    a, b = (np.fromfile(os.path.join(folder, f), np.int32).reshape(-1, k) for f in ("ours", "theirs"))
    differ = np.flatnonzero((a != b).any(1))
    for query in differ:
        x, y = (items[rows[query]].astype(float) @ queries[query].astype(float) for rows in (a, b))
        # Of the computed scores: (d + 1) · 2⁻²⁴ · |q| · |v|, twice, for each of them.
        bound = 4 * (depth + 1) * 2.0 ** -24 * np.linalg.norm(queries[query]) * np.linalg.norm(items[b[query]], axis=1).max()
        assert np.abs(x - y).max() <= bound, f"query {query}: {a[query]} and {b[query]}"
    return 1 - len(differ) / len(a)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer: return peer(options.peer[0], int(options.peer[1]), int(options.peer[2]), options.peer[3])
    import numpy as np
    results = []
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        peak = os.path.join(folder, "peak")
        run(["cc", "-O2", "-march=native", "-pthread", os.path.join(ROOT, "Benchmarks/peers/peak.c"), "-o", peak])
        fma = lambda: float(run([peak, "fma"]))
        for line in run([peak]).splitlines():
            measure = json.loads(line)
            if measure["measure"].startswith("stream_read"): print(f"memory, {measure['threads']} threads: {measure['value']:.1f} GB/s")
        for shape in options.shapes:
            n, m, depth, k = map(int, shape.split("x"))
            draw = np.random.default_rng(7)
            for name, rows in (("queries", n), ("items", m)):
                draw.standard_normal((rows, depth), dtype=np.float32).tofile(os.path.join(folder, name))
            ours = [LARDER, "bench", "topk", "--json", "--queries", os.path.join(folder, "queries"), "--items",
                    os.path.join(folder, "items"), "--depth", str(depth), "--k", str(k), "--output", os.path.join(folder, "ours")]
            contenders = {name: (lambda p=p: [json.loads(l)["value"] for l in run(ours + ["--pass", p]).splitlines()])
                          for name, p in OURS.items()}
            # What a user's own items in the lists' way cost, and one thread instead of all.
            contenders["larder, 32-bit, 100 seen items a query"] = lambda: [
                json.loads(l)["value"] for l in run(ours[:-2] + ["--pass", "float32", "--seen", "100"]).splitlines()]
            contenders["larder, 32-bit, one thread"] = lambda: [
                json.loads(l)["value"] for l in run(ours[:-2] + ["--pass", "float32", "--threads", "1"]).splitlines()]
            for name in PEERS:
                environment = dict(os.environ, OMP_NUM_THREADS="1" if "split" in name else str(THREADS))
                contenders[name] = lambda name=name, environment=environment: [float(run(
                    [sys.executable, __file__, "--peer", name, str(depth), str(k), folder], env=environment))]
            rates, shares, memory, alike = ({name: [] for name in contenders} for _ in range(4))
            for _ in range(options.reps):
                before = fma()
                for name, measure in contenders.items():
                    values = measure()
                    after = fma()
                    rates[name].append(values[0])
                    shares[name].append(values[0] / (before + after) * 2)
                    memory[name] += values[1:]
                    before = after
                    if name in PEERS: alike[name].append(same(folder, depth, k))
            middle = {name: statistics.median(values) for name, values in rates.items()}
            print(f"\n{n:,} queries, {m:,} items, depth {depth}, k {k}")
            print(f"{'':52} {'GFLOP/s':>8} {'range':>13} {'of the peak':>12} {'MiB':>5}")
            for name, values in rates.items():
                print(f"{name:52} {middle[name]:8.0f} {min(values):6.0f}–{max(values):<6.0f} {statistics.median(shares[name]):12.2f}"
                      + (f" {max(memory[name]):5.0f}" if memory[name] else ""))
            for name in OURS:
                for other in PEERS:
                    ratio = statistics.median(a / b for a, b in zip(shares[name], shares[other]))
                    results.append(dict(case="topk", size=f"{shape}, {name}", ours=round(middle[name], 1), peer=other,
                                        theirs=round(middle[other], 1), unit="GFLOP/s", ratio=round(ratio, 2), equal=True,
                                        note=f"{min(alike[other]):.4f} of the lists the same, the others to rounding"))
                    print(f"  {name} / {other}: {ratio:.2f}  ({min(alike[other]):.4f} of the lists the same, the others to rounding)", flush=True)
    with open(os.path.join(ROOT, ".bench/topk.jsonl"), "w") as file:
        for line in results: file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
