#!/usr/bin/env python3
"""`larder serve` beside a bare server of the same library, and beside plain GETs.

`make bench CASE=serve` writes 100,000 lists of 20 JSON ids into a Redis of its own. In turns wrk (one thread, 64 connections)
asks `larder serve` for lists of random ids, asks a bare Hummingbird server that sends as many bytes back, and
redis-benchmark GETs over 64 connections. Everything shares the machine.
"""
import argparse, json, os, re, socket, statistics, subprocess, sys, tempfile, time, urllib.request
import redis

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
URL = os.environ["TEST_REDIS"]
SOCKET = URL.removeprefix("unix://").split("?")[0]
USERS = 100_000
ASK = """
math.randomseed(7)
request = function() return wrk.format("GET", "/v1/feeds/bench/u" .. math.random(0, %d)) end
done = function(summary, latency)
  io.write(string.format("found %%f %%f %%f %%d\\n", summary.requests / summary.duration * 1e6, latency:percentile(50),
    latency:percentile(99), summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*words):
    """A server, once it answers."""
    port = free_port()
    environment = dict(os.environ, LARDER_REDIS_URL=URL, LARDER_DATABASE_URL=os.environ["TEST_POSTGRES"] + " dbname=postgres",
                       LARDER_HOME=tempfile.mkdtemp(dir=os.path.join(ROOT, ".bench")))
    process = subprocess.Popen([LARDER, *words, "--port", str(port)], env=environment, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try: return process, port, urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/feeds/bench/u1").read()
        except OSError: time.sleep(0.05)
    sys.exit(f"{words} does not answer")


def wrk(port, script, seconds):
    out = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}"],
                         capture_output=True, text=True).stdout
    rate, p50, p99, errors = re.search(r"found (\S+) (\S+) (\S+) (\d+)", out).groups()
    if int(errors): sys.exit(f"{errors} requests failed\n{out}")
    return float(rate), float(p50) / 1000, float(p99) / 1000


def keys_for_gets(client):
    """redis-benchmark's numbers have twelve digits: the same lists under such keys."""
    for first in range(0, USERS, 1000):
        lists = client.mget([f"rec:bench:1:u{i}" for i in range(first, first + 1000)])
        client.mset({f"get:{first + i:012}": value for i, value in enumerate(lists)})


def gets(client, seconds):
    client.config_resetstat()
    out = subprocess.run(["redis-benchmark", "-s", SOCKET, "-c", "64", "-n", str(30_000 * seconds), "-r", str(USERS), "--csv",
                          "GET", "get:__rand_int__"], capture_output=True, text=True).stdout
    if missed := client.info("stats")["keyspace_misses"]: sys.exit(f"{missed} keys were not there")
    row = [cell.strip('"') for cell in out.strip().splitlines()[-1].split(",")]
    return float(row[1]), float(row[4]), float(row[6])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    subprocess.run([LARDER, "bench", "redis", "--redis-url", URL, "--users", str(USERS), "--k", "20"], check=True, stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=SOCKET)
    keys_for_gets(client)
    served, port, answer = start("serve")
    bare, bare_port, _ = start("bench", "echo", "--bytes", str(len(answer)))
    script = os.path.join(ROOT, ".bench/ask.lua")
    with open(script, "w") as file: file.write(ASK % (USERS - 1))
    found = {"larder serve": [], "a bare server": [], "GET by redis-benchmark": []}
    try:
        for _ in range(options.reps):
            found["larder serve"].append(wrk(port, script, options.seconds))
            found["a bare server"].append(wrk(bare_port, script, options.seconds))
            found["GET by redis-benchmark"].append(gets(client, options.seconds))
    finally:
        served.terminate(), bare.terminate()
    results = []
    for who, rows in found.items():
        rate, p50, p99 = (statistics.median(row[i] for row in rows) for i in range(3))
        results.append(dict(case="serve", who=who, rate=round(rate), p50_ms=round(p50, 2), p99_ms=round(p99, 2), bytes=len(answer)))
        print(f"{who:24} {rate:10,.0f} requests/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms", flush=True)
    for i, what in ((1, "p50"), (2, "p99"), (0, "requests/s")):
        pairs = sorted(a[i] / b[i] for a, b in zip(found["larder serve"], found["a bare server"]))
        results.append(dict(case="serve", what=what, ratio=round(statistics.median(pairs), 2), low=round(pairs[0], 2), high=round(pairs[-1], 2)))
        print(f"  {what}: {statistics.median(pairs):.2f} of the bare server's ({pairs[0]:.2f} to {pairs[-1]:.2f})")
    with open(os.path.join(ROOT, ".bench/serve.jsonl"), "a") as file:
        for result in results: file.write(json.dumps(result) + "\n")


main()
