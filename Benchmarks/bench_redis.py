#!/usr/bin/env python3
"""Lists into Redis, beside a C program on hiredis, redis-benchmark and redis-py.

`make bench CASE=redis` fills a Redis of its own over a Unix socket, in turns, with lists of ten JSON ids, keys of 19
bytes and an expiry: a million of them, redis-py 200,000. Ours encodes the lists too; so does the C program.
redis-benchmark sends one value all the time, redis-py lists that were made before. Then ours alone: every format
with 10 and 20 entries, plain and compact, and what Redis' memory comes to. Memory beside that of Gorse's layout, 100 entries a user.
"""
import argparse, itertools, json, os, re, statistics, subprocess, sys, threading, time
import redis

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
URL = os.environ["TEST_REDIS"]
SOCKET = URL.removeprefix("unix://").split("?")[0]
CLIENT = redis.Redis(unix_socket_path=SOCKET)
WRITER = os.path.join(ROOT, ".bench/redis_writer")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


def ours(users, k=10, layout="json", rate=None, compact=False):
    CLIENT.flushdb()
    lines = run([LARDER, "bench", "redis", "--redis-url", URL, "--users", str(users), "--k", str(k),
                 "--format", layout, "--json"] + (["--rate", str(rate)] if rate else []) +
                (["--compact"] if compact else [])).splitlines()
    return {m["what"]: m["value"] for m in map(json.loads, lines)}


def reads(seconds):
    """A reader's milliseconds for a GET, one after the other with a pause, for so long: median and p99."""
    took = []
    client = redis.Redis(unix_socket_path=SOCKET)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        client.get(f"rec:bench:1:u{len(took)}")
        took.append((time.perf_counter() - start) * 1000)
        time.sleep(.001)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def paced():
    """A reader beside a writer: as fast as it can, at two rates, and alone."""
    results = []
    for rate in (None, 50_000, 20_000, 0):
        found = {}
        # Enough lists to be written for longer than is read: what comes after them is not measured.
        writer = threading.Thread(target=lambda: found.update(ours((rate or 800_000) * 6, rate=rate)))
        if rate != 0: writer.start()
        time.sleep(1)
        median, p99 = reads(4)
        if rate != 0:
            if not writer.is_alive(): sys.exit("the writer ended before the reader")
            writer.join()
        name = "nobody writes" if rate == 0 else f"{found['lists written']:,.0f} lists/s"
        results.append(dict(case="redis", rate=rate, lists=found.get("lists written"), median_ms=round(median, 3), p99_ms=round(p99, 3)))
        print(f"  a reader's GET while {name:18} median {median:.3f} ms, p99 {p99:.3f} ms", flush=True)
    return results


def c_writer(users, batch, mode):
    return json.loads(run([WRITER, SOCKET, str(users), "10", str(batch), mode]))["rate"]


def benchmark(users, size, clients):
    out = run(["redis-benchmark", "-s", SOCKET, "-n", str(users), "-r", "1000000000", "-P", "512", "-c", str(clients), "-q",
               "SET", "rec:b:u__rand_int__", "x" * size, "EX", "604800"])
    return float(re.findall(r"([\d.]+) requests per second", out)[-1])


def redis_py(users, batch):
    values = [json.dumps([str(1000000 + (i * 7919 + j * 31) % 100000) for j in range(10)], separators=(",", ":"))
              for i in range(10_000)]
    start = time.perf_counter()
    for first in range(0, users, batch):
        pipeline = CLIENT.pipeline(transaction=False)
        for i in range(first, min(first + batch, users)): pipeline.set(f"rec:bench:1:u{i}", values[i % 10_000], ex=604800)
        pipeline.execute()
    return users / (time.perf_counter() - start)


def gorse(users=500, entries=100):
    """Bytes a user: a hash of seven fields for each item of each user. Gorse wants an index over them besides."""
    CLIENT.flushdb()
    before = CLIENT.info("memory")["used_memory"]
    for user in range(users):
        pipeline = CLIENT.pipeline(transaction=False)
        for j in range(entries):
            item = 1000000 + (user * 7919 + j * 31) % 100000
            pipeline.hset(f"documents:recommend:u{user}:{item}", mapping=dict(
                collection="recommend", subset=f"u{user}", id=item, is_hidden=0, categories="_", score=1 / (j + 1),
                timestamp=1795344611507))
        pipeline.execute()
    return (CLIENT.info("memory")["used_memory"] - before) / users


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--paced", action="store_true", help="only readers beside a writer that is paced")
    options = parser.parse_args()
    if options.paced: return save(paced())
    users = options.users
    run(["gcc", "-O3", "-Wall", "-o", WRITER, os.path.join(ROOT, "Benchmarks/peers/redis_writer.c"), "-lhiredis"])
    size = 101
    peers = {
        "hiredis in C, windows of 512": lambda: c_writer(users, 512, "window"),
        "hiredis in C, batches of 512": lambda: c_writer(users, 512, "batch"),
        "redis-benchmark, 4 clients": lambda: benchmark(users, size, 4),
        f"redis-py {redis.__version__}, pipelines of 1,000": lambda: redis_py(users // 5, 1000),
    }
    mine, theirs, all_of_it = [], {name: [] for name in peers}, []
    for turn in range(options.reps):
        def own():
            all_of_it.append(ours(users))
            return all_of_it[-1]["lists written"]
        turns = [(mine, own)] + [(theirs[name], peer) for name, peer in peers.items()]
        for into, one in turns[turn % len(turns):] + turns[:turn % len(turns)]:
            CLIENT.flushdb()
            into.append(one())
    rate = statistics.median(mine)
    results = []
    for name in peers:
        pairs = sorted(a / b for a, b in zip(mine, theirs[name]))
        results.append(dict(case="redis", ours=round(rate), peer=name, theirs=round(statistics.median(theirs[name])),
                            unit="lists/s", ratio=round(statistics.median(pairs), 2), low=round(pairs[0], 2),
                            high=round(pairs[-1], 2)))
        print(f"{users:,} lists   larder {rate:10,.0f}   {name:38} {results[-1]['theirs']:10,}   "
              f"{results[-1]['ratio']:.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})", flush=True)
    for what in ("our processor", "our share of a core", "Redis' share of its core"):
        value = statistics.median(found[what] for found in all_of_it)
        results.append(dict(case="redis", what=what, value=value))
        print(f"  {what:26} {value:.2f}")
    CLIENT.config_set("hash-max-listpack-value", 4096)
    for compact, k, layout in itertools.product((False, True), (10, 20), ("json", "json-scored", "packed", "packed-scored")):
        found = ours(users, k, layout, compact=compact)
        results.append(dict(case="redis", k=k, format=layout, compact=compact, **found))
        print(f"  k {k}, {layout:14}{' compact' if compact else '':8} {found['lists written']:10,.0f} lists/s, {found['memory of Redis']:6.0f} bytes of Redis a user, "
              f"verified and live after {found['verified and live after']:.2f} s", flush=True)
    results += paced()
    mib = gorse(), ours(users // 10, 100, "json-scored")["memory of Redis"], ours(users // 10, 100, "packed-scored")["memory of Redis"]
    results.append(dict(case="redis", k=100, gorse=mib[0], json_scored=mib[1], packed_scored=mib[2]))
    print(f"  k 100 with scores: {mib[0]:,.0f} bytes a user in Gorse's layout, {mib[1]:,.0f} json-scored, {mib[2]:,.0f} packed-scored")
    save(results)


def save(results):
    with open(os.path.join(ROOT, ".bench/redis.jsonl"), "a") as file:
        for result in results: file.write(json.dumps(result) + "\n")


main()
