#!/usr/bin/env python3
"""The queue beside the raw limit of its Postgres (pgbench) and beside procrastinate and pgqueuer.

All in one run on one server, in turns; `make bench CASE=queue` starts it. What is counted is rows
that ended, not transactions. pgbench moves rows of a plain table from state 0 to 1 to 2, with
prepared statements: what any queue in this server would have to beat, with no fence, no archive,
no retries. The peers run one process with an empty task, as their manuals show.
"""
import argparse, asyncio, json, os, random, signal, statistics, subprocess, sys, time
from datetime import timedelta
import logging

logging.getLogger("procrastinate").setLevel(logging.ERROR)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
SERVER = os.environ["TEST_POSTGRES"]
RESULTS = []


def database(name): return f"{SERVER} dbname={name}"


def psql(sql, name="postgres"):
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", database(name), "-c", sql],
                          check=True, capture_output=True, text=True)
    return done.stdout.strip()


def environment():
    return dict(os.environ, LARDER_DATABASE_URL=database("larder_bench"), LARDER_REDIS_URL=os.environ["TEST_REDIS"])


def ours(part, seconds):
    """What `larder bench queue` says of a part, by name."""
    done = subprocess.run([LARDER, "bench", "queue", "--only", part, "--seconds", str(seconds), "--json"],
                          check=True, capture_output=True, text=True, env=environment())
    return {m["what"]: m["value"] for m in map(json.loads, done.stdout.splitlines())}


CLAIM = """UPDATE raw SET state = 1, started = now() WHERE id IN (
    SELECT id FROM raw WHERE state = 0 ORDER BY priority, id LIMIT {} FOR UPDATE SKIP LOCKED) RETURNING id"""
RAW = {
    "one": CLAIM.format(1) + " \\gset\nUPDATE raw SET state = 2, done = now() WHERE id = :id;\n",
    "batch": f"WITH c AS ({CLAIM.format(100)}) SELECT array_agg(id) AS ids FROM c \\gset\n"
             "UPDATE raw SET state = 2, done = now() WHERE id = ANY(:ids::bigint[]);\n",
}


def pgbench(script, clients, seconds):
    """Rows a second from ready to done, in two transactions."""
    rows = 400_000 if script == "batch" else 60_000
    psql(f"""DROP TABLE IF EXISTS raw;
             CREATE TABLE raw (id bigserial PRIMARY KEY, state int NOT NULL DEFAULT 0, priority int NOT NULL DEFAULT 0,
                               payload text, started timestamptz, done timestamptz);
             INSERT INTO raw (payload) SELECT 'user:' || g FROM generate_series(1, {rows}) g;
             CREATE INDEX ON raw (priority, id) WHERE state = 0""")
    psql("VACUUM ANALYZE raw"), psql("CHECKPOINT")
    path = os.path.join(ROOT, f".bench/{script}.sql")
    with open(path, "w") as file: file.write(RAW[script].replace("\n    ", " "))
    subprocess.run(["pgbench", "-n", "-M", "prepared", "-f", path, "-c", str(clients), "-j", "2", "-T", str(seconds),
                    database("postgres")], check=True, capture_output=True, env=environment())
    return int(psql("SELECT count(*) FROM raw WHERE state = 2")) / seconds


def fresh(name):
    psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"), psql(f"CREATE DATABASE {name}")
    return database(name)


async def procrastinate(jobs):
    import procrastinate
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=fresh("peer"), min_size=4, max_size=12))

    @app.task(name="noop")
    async def noop(i): pass
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        start = time.perf_counter()
        for i in range(jobs // 4): await noop.defer_async(i=i)
        one = jobs // 4 / (time.perf_counter() - start)
        start = time.perf_counter()
        for i in range(0, jobs, 1000): await noop.batch_defer_async(*[dict(i=j) for j in range(i, i + 1000)])
        many = jobs / (time.perf_counter() - start)
        psql("VACUUM ANALYZE", "peer")
        start = time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False, listen_notify=False)
        took = time.perf_counter() - start
    done = int(psql("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'", "peer"))
    return one, many, done / took


async def pgqueuer(jobs):
    import asyncpg
    from pgqueuer import AsyncpgPoolDriver, Queries, QueueManager
    from pgqueuer.domain.types import QueueExecutionMode
    fresh("peer")
    host, user = (dict(word.split("=") for word in SERVER.split())[key] for key in ("host", "user"))
    async with asyncpg.create_pool(host=host, user=user, database="peer", min_size=4, max_size=12) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.install()
        start = time.perf_counter()
        for i in range(jobs // 4): await queries.enqueue("noop", b"x", 0)
        one = jobs // 4 / (time.perf_counter() - start)
        start = time.perf_counter()
        for i in range(0, jobs, 1000): await queries.enqueue(["noop"] * 1000, [b"x"] * 1000, [0] * 1000)
        many = jobs / (time.perf_counter() - start)
        psql("VACUUM ANALYZE", "peer")
        manager, done = QueueManager(queries), 0

        @manager.entrypoint("noop")
        async def noop(job):
            nonlocal done
            done += 1
        start = time.perf_counter()
        await manager.run(dequeue_timeout=timedelta(seconds=1), batch_size=100, mode=QueueExecutionMode.drain)
        return one, many, done / (time.perf_counter() - start)


def report(what, sync, mine, peer, theirs, note=""):
    """One line a comparison: medians, and their spread."""
    a, b = statistics.median(mine), statistics.median(theirs)
    spread = f"ours {min(mine):.0f}-{max(mine):.0f}, theirs {min(theirs):.0f}-{max(theirs):.0f}"
    line = dict(case="queue", size=f"{what}, synchronous_commit {sync}", ours=round(a), peer=peer, theirs=round(b),
                unit="jobs/s", ratio=round(a / b, 2), equal=True, note=(note + "; " if note else "") + spread)
    RESULTS.append(line)
    print(f"{what:34} {sync:4} {a:9,.0f}   {peer:14} {b:9,.0f}   {a / b:6.2f}   {spread}", flush=True)


def rates(reps, seconds):
    print(f"{'':34} {'sync':4} {'larder':>9}   {'peer':14} {'':>9}   {'ratio':>6}   jobs/s")
    for sync in ("on", "off"):
        psql(f"ALTER SYSTEM SET synchronous_commit = {sync}"), psql("SELECT pg_reload_conf()")
        mine = {part: [] for part in ("single", "batch", "worker", "enqueue")}
        raw = {(script, clients): [] for script in RAW for clients in (1, 4)}
        others = {"procrastinate": [], "pgqueuer": []}
        for _ in range(reps):
            for part in mine: mine[part].append(ours(part, seconds))
            for key in raw: raw[key].append(pgbench(*key, seconds))
            others["procrastinate"].append(asyncio.run(procrastinate(4000)))
            others["pgqueuer"].append(asyncio.run(pgqueuer(20_000)))
        pick = lambda part, what: [m[what] for m in mine[part]]
        for clients in (1, 4):
            plural = "s" if clients > 1 else ""
            report(f"one at a time, {clients} client{plural}", sync, pick("single", f"claim and finish by 1, {clients} client{plural}"),
                   "pgbench", raw["one", clients])
            report(f"by 100, {clients} client{plural}", sync, pick("batch", f"claim and finish by 100, {clients} client{plural}"),
                   "pgbench", raw["batch", clients])
        for peer, values in others.items():
            report("a worker, empty handler", sync, pick("worker", "one worker, empty handler"), peer, [v[2] for v in values])
            report("enqueue one by one", sync, pick("enqueue", "enqueue one by one"), peer, [v[0] for v in values])
            report("enqueue by 1000", sync, pick("enqueue", "enqueue by 1000"), peer, [v[1] for v in values])
    psql("ALTER SYSTEM RESET synchronous_commit"), psql("SELECT pg_reload_conf()")


def latency():
    for what, value in ours("latency", 1).items(): show(what, value, "ms")


def show(what, value, unit, note=""):
    RESULTS.append(dict(case="queue", size=what, ours=round(value, 2), unit=unit, note=note))
    print(f"{what:50} {value:10,.1f} {unit}  {note}", flush=True)


def recovery(workers=20):
    """From the SIGKILL of a worker to the moment at which its job can be claimed again."""
    psql("TRUNCATE larder.jobs, larder.archive, larder.attempts, larder.sessions", "larder_bench")
    start = lambda: subprocess.Popen([LARDER, "bench", "worker", "--slots", "1"], env=environment(),
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running = lambda: int(psql("SELECT count(*) FROM larder.jobs WHERE state = 'running'", "larder_bench"))
    victims = [start() for _ in range(workers)]
    for _ in victims:
        psql("""SELECT larder.enqueue('sleep', '{"ms": 900000}', 'bench', timeout => '1 h')""", "larder_bench")
    while running() < workers: time.sleep(0.5)
    psql("SELECT larder.enqueue('sleep', '{\"ms\": 900000}', 'bench', timeout => '1 h')", "larder_bench")
    survivor = start()
    while running() < workers + 1: time.sleep(0.5)
    killed = {}
    # Spread over a heartbeat's interval: when it dies since its last beat is chance.
    for victim in victims:
        time.sleep(random.uniform(0, 1.5))
        killed[victim.pid] = time.time()
        victim.send_signal(signal.SIGKILL), victim.wait()
    deadline = time.time() + 90
    while time.time() < deadline and int(psql("SELECT count(*) FROM larder.attempts", "larder_bench")) < workers: time.sleep(0.5)
    rows = psql("""SELECT s.pid, extract(epoch FROM a.ended_at) FROM larder.attempts a
                   JOIN larder.sessions s ON s.id = a.session_id WHERE a.outcome = 'lost'""", "larder_bench")
    times = sorted(float(at) - killed[int(pid)] for pid, at in (row.split("|") for row in rows.splitlines()))
    survivor.kill(), survivor.wait()
    if len(times) < workers: sys.exit(f"only {len(times)} of {workers} jobs were taken back")
    show(f"recovery after SIGKILL, p50 of {workers}", statistics.median(times), "s")
    show(f"recovery after SIGKILL, max of {workers}", times[-1], "s")


def xmin():
    for what, value in ours("xmin", 1).items(): show(what, value, "jobs/s" if "finished" in what else "")


parts = {"rates": None, "latency": latency, "recovery": recovery, "xmin": xmin}
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--only", nargs="*", choices=list(parts), default=list(parts))
p.add_argument("--reps", type=int, default=3)
p.add_argument("--seconds", type=int, default=4)
a = p.parse_args()
fresh("larder_bench")
subprocess.run([LARDER, "migrate"], check=True, capture_output=True, env=environment())
for part in a.only: rates(a.reps, a.seconds) if part == "rates" else parts[part]()
with open(os.path.join(ROOT, ".bench/queue.jsonl"), "w") as file:
    for line in RESULTS: file.write(json.dumps(line) + "\n")
