#!/usr/bin/env python3
"""A feed as one writes it with libraries: polars, gensim, faiss-cpu, redis-py. Prints its stages as JSON.

feed.py EVENTS REDIS_SOCKET SETTINGS: sessions of a CSV file, Word2Vec on nine tenths of them, its hit rate on the rest,
Word2Vec on all, the 100 nearest of each item, into Redis under a number of their own, then the pointer. Each library in
the way that is its fastest: sequences go to gensim as a file, vectors to faiss in one matrix, lists to Redis in pipelines.
"""
import json, os, sys, tempfile, time
import faiss, numpy as np, polars as pl, redis
from gensim.models import Word2Vec

events, socket, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
K, THREADS = settings["k"], os.cpu_count()
start, stages = time.perf_counter(), {}


def stage(name):
    global start
    now = time.perf_counter()
    stages[name], start = now - start, now


def train(file):
    return Word2Vec(corpus_file=file, vector_size=settings["size"], window=settings["window"], negative=5, ns_exponent=.75,
                    min_count=settings["min_count"], sample=1e-3, alpha=.025, min_alpha=1e-4, sg=0, workers=THREADS,
                    epochs=settings["epochs"], seed=1).wv


def nearest(vectors, rows):
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    scores, found = index.search(vectors[rows], K + 1)
    # Without the item itself, wherever it stands.
    keep = found != rows[:, None]
    keep[keep.all(1), -1] = False
    return found[keep].reshape(len(rows), K)


frame = pl.read_csv(events, columns=["item_id", "timestamp", "session_id"])
popular = [str(i) for i in frame["item_id"].value_counts(sort=True)["item_id"][:K]]
sessions = (frame.sort("session_id", "timestamp", maintain_order=True)
            .group_by("session_id", maintain_order=True).agg(pl.col("item_id").cast(pl.String)))
stage("read")

with tempfile.TemporaryDirectory() as folder:
    def write(name, some):
        path = os.path.join(folder, name)
        some.select(pl.col("item_id").list.join(" ")).write_csv(path, include_header=False, quote_style="never")
        return path
    sessions = sessions.with_columns(kept_back=pl.Series(np.random.default_rng(1).random(len(sessions)) < .1))
    wv = train(write("train.txt", sessions.filter(~pl.col("kept_back"))))
    stage("train")

    pairs = sessions.filter(pl.col("kept_back"), pl.col("item_id").list.len() > 1).select(
        pl.col("item_id").list.get(-2).alias("query"), pl.col("item_id").list.get(-1).alias("target"))
    row = wv.key_to_index
    known = [(row[q], row.get(t, -1)) for q, t in pairs.iter_rows() if q in row]
    queries, targets = np.array(known).T
    vectors = wv.get_normed_vectors().astype(np.float32)
    of = dict(zip(np.unique(queries).tolist(), nearest(vectors, np.unique(queries))))
    hits = sum(t in of[q] for q, t in known) + sum(t in popular for q, t in pairs.iter_rows() if q not in row)
    stage("check")

    wv = train(write("all.txt", sessions))
    stage("refit")

vectors = wv.get_normed_vectors().astype(np.float32)
names = np.array(wv.index_to_key)
lists = nearest(vectors, np.arange(len(names)))
stage("top-k")

client = redis.Redis(unix_socket_path=socket)
client.set("peer:1:_default", json.dumps(popular), ex=604800)
for first in range(0, len(names), 1000):
    pipeline = client.pipeline(transaction=False)
    for item, found in zip(names[first:first + 1000], lists[first:first + 1000]):
        pipeline.set(f"peer:1:{item}", json.dumps(names[found].tolist(), separators=(",", ":")), ex=604800)
    pipeline.execute()
client.set("peer:live", 1)
stage("publish")
print(json.dumps(dict(stages=stages, hit_rate=hits / len(pairs), lists=len(names))))
