# SPDX-License-Identifier: Apache-2.0
"""The figures in Tests/PredictorTests/EvaluationOracleTests.swift, by other people's programs.

    python3 -m venv oracle && oracle/bin/pip install rectools==0.19.0 ranx==0.3.21
    oracle/bin/python Tests/rectools_metrics.py

Hit rate, recall, precision, NDCG, MRR and MAP are ranx's; novelty, popularity and coverage are
RecTools'; Gini is by its definition as a mean of absolute differences, diversity by numpy.
"""

import itertools

import numpy as np
import pandas as pd
from ranx import Qrels, Run, evaluate
from rectools import Columns
from rectools.metrics import AvgRecPopularity, CatalogCoverage, MeanInvUserFreq

USERS, ITEMS, K = 60, 40, 5


def distinct(values, count):
    return list(dict.fromkeys(values))[:count]


def had(user):
    """Items in order; the last few are kept back."""
    return distinct(((user * 7 + j * j * 3 + j) % ITEMS for j in range(40)), 5 + user % 4)


def kept_back(user):
    return had(user)[-(1 + user % 3):]


def before(user):
    return had(user)[: -(1 + user % 3)]


def listed(user):
    return distinct(((user % 9 * 11 + j * j * 3 + j) % 31 for j in range(60)), 10)


def categories(item):
    return {item % 3, 3 + item % 4}


train = [(u, i) for u in range(USERS) for i in before(u)]
qrels = Qrels({f"{u}": {f"{i}": 1 for i in kept_back(u)} for u in range(USERS)})
run = Run({f"{u}": {f"{i}": 1 / (r + 1) for r, i in enumerate(listed(u))} for u in range(USERS)})
names = {"hit_rate": "hit-rate", "recall": "recall", "precision": "precision", "ndcg": "ndcg",
         "mrr": "mrr", "map": "map"}
for k in (K, 10):
    for theirs, ours in names.items():
        print(f"{ours}@{k}", round(float(evaluate(qrels, run, f"{theirs}@{k}")), 9))

reco = pd.DataFrame([(u, i, r + 1) for u in range(USERS) for r, i in enumerate(listed(u))],
                    columns=[Columns.User, Columns.Item, Columns.Rank])
interactions = pd.DataFrame(train, columns=[Columns.User, Columns.Item])
interactions[Columns.Weight] = 1
interactions[Columns.Datetime] = "2020-01-01"
catalogue = sorted({i for u in range(USERS) for i in had(u)})
for k in (K, 10):
    print(f"novelty@{k}", round(float(MeanInvUserFreq(k).calc(reco, interactions)), 9))
    print(f"popularity@{k}", round(float(AvgRecPopularity(k).calc(reco, interactions)), 9))
    coverage = CatalogCoverage(k, normalize=True).calc(reco, catalogue)
    print(f"coverage@{k}", round(float(coverage), 9))
    counts = np.array([sum(i in listed(u)[:k] for u in range(USERS)) for i in catalogue], float)
    gini = np.abs(counts[:, None] - counts).sum() / (2 * len(counts) * counts.sum())
    print(f"gini@{k}", round(float(gini), 9))

    def cosine(a, b):
        return len(categories(a) & categories(b)) / np.sqrt(len(categories(a)) * len(categories(b)))

    spread = [1 - np.mean([cosine(a, b) for a, b in itertools.combinations(listed(u)[:k], 2)])
              for u in range(USERS)]
    print(f"diversity@{k}", round(float(np.mean(spread)), 9))
counts = interactions.groupby(Columns.Item).size()
profile = np.mean([np.mean([counts[i] for i in before(u)]) for u in range(USERS)])
print("profile popularity", round(float(profile), 9), "catalogue", len(catalogue))
