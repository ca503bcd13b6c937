#!/usr/bin/env python3
"""gensim's Word2Vec on a dataset that `larder` prepared: same sequences, same split, same queries.

Trains on the training part, then asks for the last item of each test sequence from the item before
it: a hit if it is among the 100 nearest by cosine, the query left out. A query that is not in the
vocabulary is answered with the 100 most frequent items, as larder does.

    pip install gensim==4.4.0 safetensors numpy
    python gensim_sessions.py HOME/artifacts/dataset/ab/ab…  [--sg] [--seed 1]
"""
import argparse, json, time
import numpy as np
from gensim.models import Word2Vec
from safetensors.numpy import load_file

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("dataset")
p.add_argument("--sg", action="store_true")
p.add_argument("--seed", type=int, default=1)
p.add_argument("--epochs", type=int, default=5)
a = p.parse_args()

events = load_file(a.dataset + "/events.safetensors")
items, offsets, parts = events["items"], events["sequence_offsets"], events["parts"]
bounds = list(zip(offsets[:-1], offsets[1:]))
train = [items[i:j] for i, j in bounds if parts[i] == 0]
test = [(items[j - 2], items[j - 1]) for i, j in bounds if parts[i] == 2 and j - i >= 2]
tokens = sum(map(len, train))

sentences = [[str(i) for i in s] for s in train]
model = Word2Vec(vector_size=48, window=10, negative=5, ns_exponent=0.75, min_count=5, sample=1e-3,
                 alpha=0.025, min_alpha=1e-4, sg=int(a.sg), workers=2, epochs=a.epochs, seed=a.seed)
model.build_vocab(sentences)
start = time.perf_counter()
model.train(sentences, total_examples=model.corpus_count, epochs=a.epochs)
took = time.perf_counter() - start

vectors = model.wv.get_normed_vectors()
row = {int(word): i for i, word in enumerate(model.wv.index_to_key)}
counts = np.bincount(np.concatenate(train), minlength=items.max() + 1)
popular = np.lexsort((np.arange(len(counts)), -counts))[:101]
hits = sum(t in [i for i in popular if i != q][:100] for q, t in test if q not in row)
known = [(row[q], row.get(t, -1)) for q, t in test if q in row]
for i in range(0, len(known), 1024):
    q, t = np.array(known[i:i + 1024]).T
    scores = vectors[q] @ vectors.T
    scores[np.arange(len(q)), q] = -np.inf
    target = scores[np.arange(len(q)), np.maximum(t, 0)]
    hits += int(((t >= 0) & (t != q) & ((scores > target[:, None]).sum(1) < 100)).sum())
print(json.dumps(dict(sg=a.sg, seed=a.seed, train_tokens=tokens, tokens_per_s=round(a.epochs * tokens / took),
                      hr100=round(hits / len(test), 4), queries=len(test), cold=len(test) - len(known))))
