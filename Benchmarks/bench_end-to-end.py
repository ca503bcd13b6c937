#!/usr/bin/env python3
"""A whole feed, from a CSV file to lists that are live in Redis, beside a script of polars, gensim, faiss-cpu and redis-py.

`LARDER_BENCH_DATA=FOLDER make bench CASE=end-to-end` takes globo-news from the folder. One session in twenty is kept
from both. Each then reads the file, trains prod2vec (CBOW) on nine tenths of the sessions, measures it on the rest,
trains on all, finds the 100 nearest of every item and writes them to Redis, in turns, with nothing left from the turn
before. The lists are then read back from Redis and asked for the last item of the sessions that nobody had, from the item
before it: hit rate and NDCG at 100. Memory is the most that the worker, or the script, held at a time; Redis is beside
both, Postgres beside ours.
"""
import argparse, gzip, json, math, os, statistics, subprocess, sys, tempfile, time
import redis

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
SOCKET = os.environ["TEST_REDIS"].removeprefix("unix://").split("?")[0]
POSTGRES = os.environ["TEST_POSTGRES"]
CLIENT = redis.Redis(unix_socket_path=SOCKET)


def run(command, **more):
    """What it prints, how long it took, and the most memory that it held, in MiB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **more)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        out.seek(0)
        text = out.read().decode()
    if status: sys.exit(f"{command}\n{text}")
    return text, took, usage.ru_maxrss / 1024


def divided(source, folder):
    """The file without some sessions, and of these the last two items."""
    path, kept_back = os.path.join(folder, "events.csv.gz"), {}
    with gzip.open(source, "rt") as file, gzip.open(path, "wt", compresslevel=6) as out:
        head = next(file)
        columns = head.rstrip("\n").split(",")
        session, item = columns.index("session_id"), columns.index("item_id")
        out.write(head)
        for line in file:
            cells = line.rstrip("\n").split(",")
            if int(cells[session]) * 2654435761 % 2**32 % 20: out.write(line)
            else: kept_back.setdefault(cells[session], []).append(cells[item])
    return path, [(items[-2], items[-1]) for items in kept_back.values() if len(items) > 1]


def quality(prefix, questions):
    default = json.loads(CLIENT.get(f"{prefix}:_default"))
    found = CLIENT.mget([f"{prefix}:{query}" for query, _ in questions])
    gains = []
    for (query, target), text in zip(questions, found):
        items = (json.loads(text) if text else default)[:100]
        gains.append(1 / math.log2(items.index(target) + 2) if target in items else 0)
    return sum(g > 0 for g in gains) / len(gains), sum(gains) / len(gains)


def ours(events, settings, turn):
    database = f"larder_bench_{os.getpid()}_{turn}"
    def psql(statement): run(["psql", "-qX", f"{POSTGRES} dbname=postgres", "-c", statement])
    psql(f"CREATE DATABASE {database}")
    try:
        with tempfile.TemporaryDirectory() as home:
            environment = dict(os.environ, LARDER_DATABASE_URL=f"{POSTGRES} dbname={database}", LARDER_REDIS_URL=os.environ["TEST_REDIS"],
                               LARDER_HOME=home)
            pipeline = os.path.join(home, "pipeline.yaml")
            with open(pipeline, "w") as file:
                file.write(f"""
feed: news
dataset:
  source: {{ csv: {events} }}
  columns: {{ user: user_id, item: item_id, time: timestamp, session: session_id }}
  split: {{ by: sequences, validation: 0, test: 0.1, seed: 1 }}
model: {{ kind: prod2vec, vector-size: {settings['size']}, window: {settings['window']}, min-count: {settings['min_count']},
         epochs: {settings['epochs']}, sample: 0.001, threads: {os.cpu_count()} }}
check: {{ baselines: [popularity] }}
predict: {{ for: items, k: {settings['k']} }}
publish: {{ format: json, expire: 7d }}
""")
            run([LARDER, "migrate"], env=environment)
            start = time.perf_counter()
            run([LARDER, "run", pipeline], env=environment)
            memory = run([LARDER, "worker", "--drain"], env=environment)[2]
            took = time.perf_counter() - start
            shown = json.loads(run([LARDER, "runs", "show", "1", "--json"], env=environment)[0])
            if shown["run"]["state"] != "succeeded": sys.exit(json.dumps(shown)[:2000])
            jobs = [job for job in shown["jobs"] if job.get("started")]
            stages = {job["name"]: job["seconds"] for job in jobs if "/" not in job["name"]}
            shards = [job for job in jobs if "/" in job["name"]]
            stages["predict"] = max(j["started"] + j["seconds"] for j in shards) - min(j["started"] for j in shards)
            release = CLIENT.get("rec:news:live").decode()
            return dict(seconds=took, memory=memory, stages=stages, prefix=f"rec:news:{release}", lists=shown["publish"]["lists"])
    finally: psql(f"DROP DATABASE {database} WITH (FORCE)")


def theirs(events, settings):
    text, took, memory = run([sys.executable, os.path.join(ROOT, "Benchmarks/peers/feed.py"), events, SOCKET, json.dumps(settings)])
    told = json.loads(text.splitlines()[-1])
    return dict(seconds=took, memory=memory, stages=told["stages"], prefix="peer:1", lists=told["lists"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    source = os.path.join(os.environ.get("LARDER_BENCH_DATA", ""), "globo-news/events.csv.gz")
    if not os.path.exists(source): sys.exit("LARDER_BENCH_DATA must be a folder with globo-news/events.csv.gz in it")
    settings = dict(size=100, window=5, epochs=5, min_count=5, k=100)
    with tempfile.TemporaryDirectory() as folder:
        events, questions = divided(source, folder)
        print(f"{len(questions):,} questions of sessions kept back", flush=True)
        found = {"larder": [], "script": []}
        for turn in range(options.reps):
            both = [("larder", lambda: ours(events, settings, turn)), ("script", lambda: theirs(events, settings))]
            for name, one in both if turn % 2 == 0 else both[::-1]:
                CLIENT.flushall()
                result = one()
                result["hit_rate"], result["ndcg"] = quality(result["prefix"], questions)
                found[name].append(result)
                print(f"{name:7} {result['seconds']:7.1f} s {result['memory']:7.0f} MiB  {result['lists']:,} lists  HR@100 {result['hit_rate']:.4f}  "
                      f"NDCG@100 {result['ndcg']:.4f}  " + " ".join(f"{k} {v:.1f}" for k, v in result["stages"].items()), flush=True)
    results = []
    for what, unit in (("seconds", "s"), ("memory", "MiB")):
        pairs = sorted(b[what] / a[what] for a, b in zip(found["larder"], found["script"]))
        a, b = (statistics.median(r[what] for r in found[name]) for name in ("larder", "script"))
        results.append(dict(case="end-to-end", what=what, ours=round(a, 2), peer="polars, gensim, faiss-cpu, redis-py", theirs=round(b, 2), unit=unit,
                            ratio=round(statistics.median(pairs), 2), low=round(pairs[0], 2), high=round(pairs[-1], 2)))
        print(f"{what:8} larder {a:8.1f}  script {b:8.1f} {unit:4} {results[-1]['ratio']:.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})")
    for name, turns in found.items():
        results.append(dict(case="end-to-end", who=name, hit_rate=statistics.median(t["hit_rate"] for t in turns),
                            ndcg=statistics.median(t["ndcg"] for t in turns),
                            stages={k: round(statistics.median(t["stages"][k] for t in turns), 2) for k in turns[0]["stages"]}))
        print(name, results[-1]["stages"])
    with open(os.path.join(ROOT, ".bench/end-to-end.jsonl"), "a") as file:
        for result in results: file.write(json.dumps(result) + "\n")


main()
