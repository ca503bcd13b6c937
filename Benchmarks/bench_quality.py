#!/usr/bin/env python3
"""How good each model's lists are, on the same splits: the whole catalogue ranked, training items left out.

`LARDER_BENCH_DATA=FOLDER make bench CASE=quality` runs `larder bench model`, three seeds where chance has a
part, for every model on every data set that is in the folder: gowalla-lightgcn (the split of LightGCN),
ml-100k (ratings of 4 and 5, everyone's last film), ml-1m (everyone's last), online-retail-uci (the last 30
days), globo-news (a quarter of the users, everyone's last click). Settings are below; those of two-tower were
chosen on validation parts, never on what is reported. Intervals are of 1,000 resamples of the queries.
`--only gowalla-lightgcn ml-100k`, `--models als two-tower` run less.

`--sessions` instead finds the next item of sessions, nothing left out: amazon-beauty-s3rec (everyone's last, as
S3-Rec measures it), diginetica-gcegnn (every prefix of a test session, as GCE-GNN) and globo-news (a tenth of the
sessions), by hit rate, NDCG and MRR.

`--ratings` instead measures what rating-mlp says of ratings that it did not see, a tenth at random of ml-100k
(liked: 4 and 5) and anime-5k (8 to 10), beside scikit-learn's logistic regression on user, item and genres.
"""
import argparse, csv, gzip, json, os, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
DATA = os.environ.get("LARDER_BENCH_DATA", "")
THREADS = os.cpu_count()

MOVIES = """
  users: {{ csv: {data}/users.csv.gz, user: user_id }}
  items: {{ csv: {data}/items.csv.gz, item: item_id }}
  features:
    users: {{ gender: {{ category: gender }}, occupation: {{ category: occupation }} }}
    items: {{ genres: {{ category: genres, list: "|" }} }}"""
SETS = {
    "gowalla-lightgcn": """
  source: {{ csv: {folder}/gowalla.csv }}
  columns: {{ user: user_id, item: item_id }}
  split: {{ by: column, column: fold, test: test }}""",
    "ml-100k": """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id, time: timestamp }}
  keep: {{ positive: rating >= 4 }}
  split: leave-last-one""" + MOVIES,
    "ml-1m": """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id }}
  split: {{ by: column, column: loo_test, test: "1" }}""" + MOVIES,
    "online-retail-uci": """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id, time: timestamp }}
  users: {{ csv: {data}/users.csv.gz, user: user_id }}
  items: {{ csv: {data}/items.csv.gz, item: item_id }}
  features:
    users: {{ country: {{ category: country }} }}
    items: {{ price: {{ number: median_price, log: true, scale: standard }} }}
  # A quarter of the lines has no customer.
  bad-rows: 30%
  split: {{ by: time, test: 30d }}""",
    "globo-news": """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id, time: timestamp }}
  keep: {{ sample: 25%, seed: 1 }}
  split: leave-last-one""",
}
TOWERS = "kind: two-tower, threads: {threads}"
MODELS = {
    "popularity": "kind: popularity",
    "item-knn": "kind: item-knn, neighbors: 200, shrinkage: 10, threads: {threads}",
    "als": "kind: als, factors: 128, regularization: 0.3, alpha: 10, threads: {threads}",
    "two-tower": TOWERS + ", epochs: 20",
}
OWN = {
    ("gowalla-lightgcn", "two-tower"): TOWERS + ", embedding: 256, towers: [], epochs: 16, smoothing: 0.05",
}

# What a session transformer is told is chosen on the validation part.
SESSIONS = {
    "amazon-beauty-s3rec": (10, """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id, time: position }}
  split: {{ by: column, column: split, validation: valid, test: test }}""",
        "dropout: 0.5, batch: 128, epochs: 60, patience: 5"),
    "diginetica-gcegnn": (20, """
  source: {{ csv: {folder}/diginetica.csv }}
  columns: {{ user: session, item: item, time: position }}
  split: {{ by: column, column: fold, validation: valid, test: test }}""",
        "length: 20, batch: 256, epochs: 6, patience: 2"),
    "globo-news": (20, """
  source: {{ csv: {data}/events.csv.gz }}
  columns: {{ user: user_id, item: item_id, time: timestamp, session: session_id }}
  sessions: {{ min-events: 2 }}
  split: {{ by: sequences, validation: 5%, test: 10%, seed: 1 }}""",
        "length: 20, dropout: 0.2, batch: 512, epochs: 5, patience: 1, sampled-negatives: 2000"),
}
SESSION_MODELS = {
    "popularity": "kind: popularity",
    "item-knn": "kind: item-knn, threads: {threads}",
    "prod2vec": "kind: prod2vec, threads: {threads}, min-count: 1, epochs: 15",
    "session-transformer": "kind: session-transformer, threads: {threads}, {own}",
}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


def write_gowalla(folder):
    with open(f"{folder}/gowalla.csv", "w") as out:
        out.write("user_id,item_id,fold\n")
        for fold in ("train", "test"):
            for row in csv.DictReader(gzip.open(f"{DATA}/gowalla-lightgcn/{fold}.csv.gz", "rt")):
                out.write(f"{row['user_id']},{row['item_id']},{fold}\n")


def write_diginetica(folder):
    """Every test case as a session of its own; the last twentieth of the training sessions to validate on."""
    train = list(csv.DictReader(gzip.open(f"{DATA}/diginetica-gcegnn/train_sessions.csv.gz", "rt")))
    late = 0.95 * max(int(row["session_id"]) for row in train)
    with open(f"{folder}/diginetica.csv", "w") as out:
        out.write("session,item,position,fold\n")
        for row in train:
            fold = "train" if int(row["session_id"]) < late else "valid"
            out.write(f"{row['session_id']},{row['item_id']},{row['position']},{fold}\n")
        for case, row in enumerate(csv.DictReader(gzip.open(f"{DATA}/diginetica-gcegnn/test_prefix_label.csv.gz", "rt"))):
            for place, item in enumerate(row["prefix"].split() + [row["label"]]): out.write(f"t{case},{item},{place},test\n")


def sessions(folder, options):
    for name, (k, dataset, own) in SESSIONS.items():
        if name not in options.only: continue
        if name == "diginetica-gcegnn": write_diginetica(folder)
        for model, settings in SESSION_MODELS.items():
            path = f"{folder}/{name}-{model}.yaml"
            with open(path, "w") as file:
                file.write(f"feed: quality\ndataset:{dataset.format(data=f'{DATA}/{name}', folder=folder)}\n"
                           f"model: {{ {settings.format(threads=THREADS, own=own)} }}\npredict: {{ for: sessions }}\n")
            seeds = options.seeds if model == "session-transformer" else 1
            text = run([LARDER, "bench", "model", path, "--dataset", f"{folder}/{name}", "-k", str(k), "--seeds", str(seeds), "--json"])
            answers = [json.loads(line) for line in text.splitlines()]
            cells = []
            for metric in (f"hit-rate@{k}", f"ndcg@{k}", f"mrr@{k}"):
                values = [a["report"]["systems"][0]["metrics"][metric] for a in answers]
                cells.append(f"{statistics.median(v['value'] for v in values):.4f} "
                             f"({min(v['low'] for v in values):.4f}–{max(v['high'] for v in values):.4f})")
            print(f"| {name} | {model} | {' | '.join(cells)} | {statistics.median(a['seconds'] for a in answers):.0f} s |", flush=True)


RATINGS = {"ml-100k": 4, "anime-5k": 8}
RATING_PIPELINE = """
feed: ratings
dataset:
  source: {{ csv: {folder}/{name}.csv }}
  columns: {{ user: user_id, item: item_id }}
  items: {{ csv: {data}/{name}/items.csv.gz, item: item_id }}
  features:
    items: {{ genres: {{ category: genres, list: "|" }} }}
    events: {{ rating: {{ number: rating }} }}
  split: {{ by: column, column: fold, validation: validation, test: test }}
model: {{ kind: popularity }}
rank: {{ kind: rating-mlp, label: rating >= {least}, embedding: 32, dropout: 0.3, weight-decay: 0.1, epochs: 30, batch: 1024,
  threads: {threads} }}
predict: {{ for: users }}
"""


def ratings(folder, seeds):
    import numpy as np, scipy.sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    for name, least in RATINGS.items():
        draw = np.random.default_rng(1)
        rows = [r for r in csv.DictReader(gzip.open(f"{DATA}/{name}/events.csv.gz", "rt")) if float(r["rating"] or -1) > 0]
        folds = draw.choice(["train", "validation", "test"], len(rows), p=[.85, .05, .1])
        with open(f"{folder}/{name}.csv", "w") as out:
            out.write("user_id,item_id,rating,fold\n")
            out.writelines(f"{r['user_id']},{r['item_id']},{r['rating']},{f}\n" for r, f in zip(rows, folds))
        with open(f"{folder}/{name}.yaml", "w") as out:
            out.write(RATING_PIPELINE.format(folder=folder, data=DATA, name=name, least=least, threads=THREADS))
        text = run([LARDER, "bench", "model", f"{folder}/{name}.yaml", "--dataset", f"{folder}/{name}", "--seeds", str(seeds), "--json"])
        answers = [json.loads(line) for line in text.splitlines()]
        reports = [a["rating"] for a in answers]
        genres = {r["item_id"]: r["genres"].split("|") for r in csv.DictReader(gzip.open(f"{DATA}/{name}/items.csv.gz", "rt"))}
        place = {}
        columns = [[place.setdefault(key, len(place)) for key in
                    [("u", r["user_id"]), ("i", r["item_id"])] + [("g", g) for g in genres.get(r["item_id"], [])]] for r in rows]
        offsets = np.concatenate([[0], np.cumsum([len(c) for c in columns])])
        x = scipy.sparse.csr_matrix((np.ones(offsets[-1], np.float32), np.concatenate(columns), offsets), shape=(len(rows), len(place)))
        y = np.array([float(r["rating"]) >= least for r in rows])
        test = folds == "test"
        p = LogisticRegression(max_iter=200).fit(x[~test], y[~test]).predict_proba(x[test])[:, 1]
        middle = lambda key: statistics.median(r[key] for r in reports)
        print(f"| {name} | {test.sum():,} | {middle('auc'):.4f} | {roc_auc_score(y[test], p):.4f} | {middle('logLoss'):.4f} | "
              f"{log_loss(y[test], p):.4f} | {middle('meanLogLoss'):.4f} | {middle('calibration'):.3f} | "
              f"{statistics.median(a['seconds'] for a in answers):.0f} s |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[*SETS, *SESSIONS])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sessions", action="store_true")
    parser.add_argument("--ratings", action="store_true")
    options = parser.parse_args()
    if not os.path.isdir(DATA): sys.exit("error: LARDER_BENCH_DATA is to name the folder of the data sets")
    lines = []
    if options.ratings:
        with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder: return ratings(folder, options.seeds)
    if options.sessions:
        with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder: return sessions(folder, options)
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        if "gowalla-lightgcn" in options.only: write_gowalla(folder)
        for name in (name for name in options.only if name in SETS):
            for model in options.models:
                settings = OWN.get((name, model), MODELS[model]).format(threads=THREADS)
                path = f"{folder}/{name}-{model}.yaml"
                with open(path, "w") as file:
                    file.write(f"feed: quality\ndataset:{SETS[name].format(data=f'{DATA}/{name}', folder=folder)}\n"
                               f"model: {{ {settings} }}\npredict: {{ for: users }}\n")
                seeds = options.seeds if model in ("als", "two-tower") else 1
                answers = []
                for line in run([LARDER, "bench", "model", path, "--dataset", f"{folder}/{name}", "--seeds", str(seeds), "--json"]).splitlines():
                    answers.append(json.loads(line))
                cells = []
                for metric in ("recall@20", "ndcg@20"):
                    values = [a["report"]["systems"][0]["metrics"][metric] for a in answers]
                    middle = statistics.median(v["value"] for v in values)
                    cells.append(f"{middle:.4f} ({min(v['low'] for v in values):.4f}–{max(v['high'] for v in values):.4f})")
                seconds = statistics.median(a["seconds"] for a in answers)
                coverage = statistics.median(a["report"]["systems"][0]["metrics"]["coverage@20"]["value"] for a in answers)
                print(f"| {name} | {model} | {' | '.join(cells)} | {coverage:.3f} | {seconds:.0f} s |", flush=True)
                lines.append(dict(case="quality", size=name, model=model, settings=settings,
                                  **{m: [a["report"]["systems"][0]["metrics"][m]["value"] for a in answers] for m in ("recall@20", "ndcg@20")}))
    with open(os.path.join(ROOT, ".bench/quality.jsonl"), "w") as file:
        for line in lines: file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
