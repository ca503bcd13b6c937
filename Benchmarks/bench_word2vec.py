#!/usr/bin/env python3
"""prod2vec, beside gensim: the same sequences in training, the same questions afterwards, in turns.

`make bench CASE=word2vec` makes playlists (200,000 of them, 10.9 M tracks), lets `larder` split them into
sequences for training and test, and gives both the same sequences: ours from the dataset, gensim's in the
form that is its fastest, a file (`corpus_file`). Speed: raw tokens x epochs over the seconds of training,
all cores, one epoch. Quality: for each test sequence, the last item from the one before: hit rate and NDCG
at 100 among all items by cosine; a query that has no vector is answered by the most popular items.
Other sequences: --pipelines a.yaml b.yaml, each with its dataset's settings; the model's are set here.
"""
import argparse, json, os, re, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
THREADS = os.cpu_count()
RESULTS = []


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


class Corpus:
    """The dataset that larder made, for both."""
    def __init__(self, folder):
        import numpy as np
        from safetensors.numpy import load_file
        self.folder = folder
        events = load_file(os.path.join(folder, "dataset", "events.safetensors"))
        items, offsets, parts = events["items"], events["sequence_offsets"], events["parts"]
        bounds = list(zip(offsets[:-1], offsets[1:]))
        train = [items[i:j] for i, j in bounds if parts[i] == 0]
        self.test = [(items[j - 2], items[j - 1]) for i, j in bounds if parts[i] == 2 and j - i >= 2]
        self.tokens = sum(map(len, train))
        self.counts = np.bincount(np.concatenate(train), minlength=items.max() + 1)
        self.file = os.path.join(folder, "train.txt")
        with open(self.file, "w") as file:
            for sequence in train: file.write(" ".join(map(str, sequence)) + "\n")

    def quality(self, items, vectors):
        """Hits and discounted gains at 100, one of each test sequence."""
        import numpy as np
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        row = np.full(len(self.counts), -1)
        row[items] = np.arange(len(items))
        popular = np.lexsort((np.arange(len(self.counts)), -self.counts))[:101].tolist()
        ranks = []
        for query, target in self.test:
            if row[query] < 0:
                rest = [i for i in popular if i != query][:100]
                ranks.append(rest.index(target) if target in rest else 100)
        known = np.array([(row[q], row[t]) for q, t in self.test if row[q] >= 0])
        for i in range(0, len(known), 512):
            q, t = known[i:i + 512].T
            scores = vectors[q] @ vectors.T
            scores[np.arange(len(q)), q] = -np.inf
            target = scores[np.arange(len(q)), np.maximum(t, 0)]
            ranks += np.where((t < 0) | (t == q), 100, (scores > target[:, None]).sum(1)).tolist()
        ranks = np.array(ranks)
        return ranks < 100, np.where(ranks < 100, 1 / np.log2(ranks + 2), 0)


def gensim(folder, size, skip_gram, epochs, seed, output):
    import numpy as np
    from gensim.models import Word2Vec
    file = os.path.join(folder, "train.txt")
    model = Word2Vec(vector_size=size, window=10, negative=5, ns_exponent=.75, min_count=5, sample=1e-3, alpha=.025,
                     min_alpha=1e-4, sg=skip_gram, workers=THREADS, epochs=epochs, seed=seed)
    start = time.perf_counter()
    model.build_vocab(corpus_file=file)
    model.train(corpus_file=file, total_examples=model.corpus_count, total_words=model.corpus_total_words, epochs=epochs)
    took = time.perf_counter() - start
    if output: np.savez(output, items=np.array(model.wv.index_to_key, dtype=int), vectors=model.wv.vectors)
    print(took)


def ours(corpus, pipeline, size, skip_gram, epochs, seed, threads=THREADS):
    text = re.sub(r"(?m)^(model|predict|publish|check):.*\n(?:[ \t]+.*\n)*", "", open(pipeline).read() + "\n")
    settings = os.path.join(corpus.folder, "pipeline.yaml")
    with open(settings, "w") as file:
        file.write(f"""{text}
model: {{ kind: prod2vec, vector-size: {size}, window: 10, negative: 5, min-count: 5, sample: 0.001, epochs: {epochs},
         skip-gram: {str(bool(skip_gram)).lower()}, threads: {threads}, seed: {seed} }}
predict: {{ for: items }}
""")
    return json.loads(run([LARDER, "bench", "prod2vec", settings, "--json", "--dataset", os.path.join(corpus.folder, "dataset"),
                           "--output", os.path.join(corpus.folder, "model")]).splitlines()[0])["value"]


def theirs(corpus, size, skip_gram, epochs, seed, output=""):
    return corpus.tokens * epochs / float(run([sys.executable, __file__, "--peer", corpus.folder, str(size), str(skip_gram), str(epochs), str(seed), output]))


def speed(name, corpus, pipeline, size, skip_gram, reps, fma):
    rates = {"larder": [], "larder, one thread": [], "gensim 4.4.0, corpus_file": []}
    peaks = {key: [] for key in rates}
    before = fma()
    for rep in range(reps):
        for key in rates:
            rates[key].append(theirs(corpus, size, skip_gram, 1, rep) if "gensim" in key else ours(
                corpus, pipeline, size, skip_gram, 1, rep, 1 if "one" in key else THREADS))
            after = fma()
            peaks[key].append((before + after) / 2)
            before = after
    a, single, b = (statistics.median(values) for values in rates.values())
    kind = ("skip-gram" if skip_gram else "CBOW") + f", vector size {size}"
    # Multiplications and additions of a token: windows of 11 on average, six targets a step, three passes over a row.
    steps = 11 if skip_gram else 1
    operations = size * (steps * 6 * 6 + (0 if skip_gram else 2 * 11))
    share = statistics.median(rate * operations / 1e9 / peak for rate, peak in zip(rates["larder"], peaks["larder"]))
    print(f"{name:12} {kind:26} {a:12,.0f} {b:12,.0f} {a / b:6.2f}   one thread {single:,.0f}: second thread x {a / single:.2f}, {share:.3f} of the FMA peak", flush=True)
    RESULTS.append(dict(case="word2vec", size=f"{name}, {kind}", ours=round(a), peer="gensim 4.4.0 corpus_file", theirs=round(b),
                        unit="tokens/s", ratio=round(a / b, 2), equal=True, note=f"second thread x {a / single:.2f}"))


def quality(name, corpus, pipeline, skip_gram, epochs, seeds):
    import numpy as np
    from safetensors.numpy import load_file
    found = {"larder": [], "gensim": []}
    for seed in range(1, seeds + 1):
        ours(corpus, pipeline, 48, skip_gram, epochs, seed)
        model = load_file(os.path.join(corpus.folder, "model", "model.safetensors"))
        found["larder"].append(corpus.quality(model["items"], model["vectors"]))
        theirs(corpus, 48, skip_gram, epochs, seed, os.path.join(corpus.folder, "gensim.npz"))
        model = np.load(os.path.join(corpus.folder, "gensim.npz"))
        found["gensim"].append(corpus.quality(model["items"], model["vectors"]))
    for metric, place in (("HR@100", 0), ("NDCG@100", 1)):
        line = f"{name:12} {'skip-gram' if skip_gram else 'CBOW':10} {epochs} epochs {metric:9}"
        for key, runs in found.items():
            values = [run[place].mean() for run in runs]
            # Of the questions asked; of the seeds, see the values themselves.
            half = 1.96 * runs[0][place].std() / len(runs[0][place]) ** .5
            line += f"   {key} {statistics.mean(values):.4f} ±{half:.4f} ({' '.join(f'{v:.4f}' for v in values)})"
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", nargs="*", default=[])
    parser.add_argument("--only", choices=["speed", "quality"])
    parser.add_argument("--epochs", type=int, default=5, help="of the models whose quality is measured")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        folder, size, skip_gram, epochs, seed, output = options.peer
        return gensim(folder, int(size), int(skip_gram), int(epochs), int(seed), output)
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        peak = os.path.join(folder, "peak")
        run(["cc", "-O2", "-march=native", "-pthread", os.path.join(ROOT, "Benchmarks/peers/peak.c"), "-o", peak])
        fma = lambda threads=2: float(run([peak, "fma"]))
        lines = [json.loads(line) for line in run([peak]).splitlines()]
        for measure in ("fma_avx512_gflops", "stream_read_gbs"):
            values = {t: statistics.median(l["value"] for l in lines if l["measure"] == measure and l["threads"] == t) for t in (1, 2)}
            print(f"{measure}: {values[1]:.0f}, two threads {values[2]:.0f}, x {values[2] / values[1]:.2f}")
        pipelines = {}
        if not options.pipelines:
            text = os.path.join(folder, "playlists.txt")
            run([sys.executable, os.path.join(ROOT, "Benchmarks/peers/make_playlists.py"), "--out", text])
            with open(text) as lines, open(os.path.join(folder, "playlists.csv"), "w") as csv:
                csv.write("playlist,track,place\n")
                for i, line in enumerate(lines): csv.writelines(f"{i},{track},{j}\n" for j, track in enumerate(line.split()))
            pipelines["playlists"] = os.path.join(folder, "playlists.yaml")
            with open(pipelines["playlists"], "w") as file:
                file.write(f"""feed: bench
dataset:
  source: {{ csv: {folder}/playlists.csv }}
  columns: {{ user: playlist, item: track, time: place }}
  split: {{ by: sequences, validation: 20%, test: 10%, seed: 42 }}
""")
        for path in options.pipelines: pipelines[os.path.splitext(os.path.basename(path))[0]] = path
        for name, pipeline in pipelines.items():
            place = os.path.join(folder, name)
            os.mkdir(place)
            corpus = Corpus.__new__(Corpus)
            corpus.folder = place
            ours(corpus, pipeline, 8, 0, 1, 1)  # makes the dataset
            corpus = Corpus(place)
            print(f"\n{name}: {corpus.tokens:,} tokens, {len(corpus.test):,} questions")
            if options.only != "quality":
                print(f"{'':39} {'larder':>12} {'gensim':>12}  ratio   tokens/s")
                for size in (48, 300):
                    for skip_gram in (0, 1): speed(name, corpus, pipeline, size, skip_gram, options.reps, fma)
            if options.only != "speed":
                for skip_gram in (0, 1): quality(name, corpus, pipeline, skip_gram, options.epochs, options.seeds)
    with open(os.path.join(ROOT, ".bench/word2vec.jsonl"), "w") as file:
        for line in RESULTS: file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
