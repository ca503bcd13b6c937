#!/usr/bin/env python3
"""From a table to dense indices, beside polars, pyarrow and DuckDB; batches, beside PyTorch's loader.

`make bench CASE=load` makes a shop's events (3 M and 30 M rows), and in turns reads them from CSV, gzip,
Parquet and Postgres. We go on to a finished dataset: grouped by user, ordered by time, split, written and
synced. The peers read the three columns and index the ids densely, in memory, and stop there. Each
measurement is a process of its own, of which the peak memory is taken; page cache warm, two threads.
"""
import argparse, gzip, json, os, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARDER = os.path.join(ROOT, ".build/release/larder")
THREADS = os.cpu_count()
RESULTS = []
SELECT = "SELECT user_id, item_id, timestamp FROM events"


# The peers, each in a process of its own -------------------------------------------------------------------

def polars(kind, path):
    import polars as pl
    columns = ["user_id", "item_id", "timestamp"]

    def ranked():
        data = pl.read_parquet(path, columns=columns) if kind == "parquet" else pl.read_csv(
            path, columns=columns, schema_overrides={c: pl.Int64 for c in columns})
        return data.height, data["user_id"].rank("dense").max(), data["item_id"].rank("dense").max()

    def categorical():
        data = pl.read_csv(path, columns=columns, schema_overrides={
            "user_id": pl.Categorical, "item_id": pl.Categorical, "timestamp": pl.Int64})
        return data.height, data["user_id"].n_unique(), data["item_id"].n_unique()
    # Its two ways of the same; categories were the faster one for text.
    return ranked() if kind == "parquet" else categorical()


def pyarrow(kind, path):
    import pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as parquet
    pa.set_cpu_count(THREADS)
    columns = ["user_id", "item_id", "timestamp"]
    data = parquet.read_table(path, columns=columns) if kind == "parquet" else csv.read_csv(
        path, convert_options=csv.ConvertOptions(include_columns=columns, column_types={c: pa.int64() for c in columns}))
    codes = [data[c].combine_chunks().dictionary_encode() for c in columns[:2]]
    return data.num_rows, len(codes[0].dictionary), len(codes[1].dictionary)


def duckdb(kind, path):
    import duckdb
    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}")
    source = f"read_parquet('{path}')" if kind == "parquet" else f"read_csv('{path}')"
    con.execute(f"""CREATE TABLE t AS SELECT user_id, item_id, timestamp FROM {source};
        CREATE TABLE u AS SELECT user_id, row_number() OVER () - 1 AS code FROM (SELECT DISTINCT user_id FROM t);
        CREATE TABLE i AS SELECT item_id, row_number() OVER () - 1 AS code FROM (SELECT DISTINCT item_id FROM t);
        CREATE TABLE e AS SELECT u.code AS u, i.code AS i, timestamp FROM t JOIN u USING (user_id) JOIN i USING (item_id)""")
    return con.execute("SELECT count(*), max(u) + 1, max(i) + 1 FROM e").fetchone()


def postgres(kind, path):
    """The rows of a COPY, counted and thrown away: psycopg's way out of a server."""
    import psycopg
    size = 0
    with psycopg.connect(os.environ["TEST_POSTGRES"] + " dbname=postgres") as con, con.cursor() as cur:
        with cur.copy(f"COPY ({SELECT}) TO STDOUT (FORMAT binary)") as copy:
            for block in copy: size += len(block)
        cur.execute("SELECT count(*), count(DISTINCT user_id), count(DISTINCT item_id) FROM events")
    return size, 0, 0


def torch(batch, path, seconds):
    """Tensors in memory, and the faster way to batch them: indices of a whole batch at once."""
    import numpy as np, torch
    import pyarrow.csv as csv
    torch.set_num_threads(1)
    data = csv.read_csv(path)
    names = ["user_id", "item_id", "price", "timestamp"]
    tensors = [torch.from_numpy(data[c].to_numpy().copy()) for c in names]
    tensors += [torch.from_numpy(data[c].combine_chunks().dictionary_encode().indices.to_numpy().copy())
                for c in ("event", "device")]
    # As many columns as ours has features: those of users and items are looked up by the event.
    users, items = (int(t.max()) + 1 for t in tensors[:2])
    lookup = [(0, torch.rand(users)) for _ in range(3)] + [(1, torch.rand(items)) for _ in range(3)]

    class Events(torch.utils.data.Dataset):
        def __len__(self): return len(tensors[0])

        def __getitem__(self, index):
            rows = [t[index] for t in tensors]
            return rows + [table[rows[key]] for key, table in lookup]
    rates = {}
    events = Events()
    batches = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(events), batch, False)
    for name, loader in {
        "": torch.utils.data.DataLoader(events, batch_size=batch, shuffle=True),
        ", indices of a batch at once": torch.utils.data.DataLoader(events, sampler=batches, batch_size=None),
        ", the same in a process of its own": torch.utils.data.DataLoader(
            events, sampler=batches, batch_size=None, num_workers=1),
    }.items():
        count, start = 0, time.perf_counter()
        for rows in loader:
            count += len(rows[0])
            if time.perf_counter() - start > seconds: break
        rates[name] = count / (time.perf_counter() - start)
    return rates


# The comparison ---------------------------------------------------------------------------------------------

def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode: sys.exit(done.stderr or f"{command} failed")
    return done.stdout


def ours(pipeline):
    out = [json.loads(line) for line in run([LARDER, "bench", "load", pipeline, "--json"], env=dict(
        os.environ, LARDER_DATABASE_URL=os.environ["TEST_POSTGRES"] + " dbname=postgres",
        LARDER_DUCKDB=os.path.join(ROOT, ".bench/venv/bin/duckdb"))).splitlines()]
    return out[0]["value"], out[1]["value"], out[0]["note"]


def theirs(peer, kind, path):
    return json.loads(run([sys.executable, __file__, "--peer", peer, kind, path],
                          env=dict(os.environ, POLARS_MAX_THREADS=str(THREADS))))


def report(size, mine, peer, rates, unit, note="", equal=True):
    a, b = statistics.median(mine), statistics.median(rates)
    RESULTS.append(dict(case="load", size=size, ours=round(a), peer=peer, theirs=round(b), unit=unit,
                        ratio=round(a / b, 2), equal=equal, note=note))
    print(f"{size:22} {a:12,.0f}   {peer:42} {b:12,.0f}   {a / b:6.2f}   {note}{'' if equal else ' (other work)'}", flush=True)


def make(rows, folder):
    data = os.path.join(folder, f"shop{rows}")
    run([LARDER, "data", "make", "shop", data, "--rows", str(rows), "--items", str(min(100_000, rows // 60))])
    events = os.path.join(data, "events.csv")
    with open(events, "rb") as source, gzip.open(events + ".gz", "wb", compresslevel=3) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    import pyarrow.csv as csv, pyarrow.parquet as parquet
    parquet.write_table(csv.read_csv(events), os.path.join(data, "events.parquet"))
    sources = {"csv": f"csv: {events}", "csv.gz": f"csv: {events}.gz", "parquet": f"parquet: {data}/events.parquet",
               "postgres": f'postgres: "{SELECT}"'}
    for kind, source in sources.items():
        with open(os.path.join(data, kind + ".yaml"), "w") as file:
            file.write(f"""feed: bench
dataset:
  source: {{ {source} }}
  columns: {{ user: user_id, item: item_id, time: timestamp }}
model: {{ kind: popularity }}
predict: {{ for: users }}
""")
    import psycopg
    with psycopg.connect(os.environ["TEST_POSTGRES"] + " dbname=postgres", autocommit=True) as con:
        con.execute("DROP TABLE IF EXISTS events")
        con.execute("CREATE TABLE events (user_id int8, session_id int8, item_id int8, event text, timestamp int8,"
                    " price float8, device text)")
        with open(events, "rb") as file, con.cursor() as cur, cur.copy("COPY events FROM STDIN (FORMAT csv, HEADER)") as copy:
            while block := file.read(1 << 20): copy.write(block)
        con.execute("VACUUM ANALYZE events")
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[3_000_000, 30_000_000])
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        peer, kind, path = options.peer
        if peer == "torch": return print(json.dumps(torch(int(kind), path, 5)))
        __import__({"postgres": "psycopg"}.get(peer, peer))
        start = time.perf_counter()
        found = globals()[peer](kind, path)
        took = time.perf_counter() - start
        # Not ru_maxrss: that begins with what the parent had.
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
        return print(json.dumps(dict(seconds=took, found=found, peak=peak)))
    print(f"{'':22} {'larder':>12}   {'peer':42} {'':>12}   {'ratio':>6}")
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, ".bench")) as folder:
        for rows in options.rows:
            data = make(rows, folder)
            for kind in ("csv", "csv.gz", "parquet", "postgres"):
                peers = {"csv": ["polars", "pyarrow", "duckdb"], "csv.gz": ["polars", "pyarrow", "duckdb"],
                         "parquet": ["polars", "pyarrow", "duckdb"], "postgres": ["postgres"]}[kind]
                path = os.path.join(data, "events." + kind)
                mine, memory, rates, peaks = [], [], {p: [] for p in peers}, {}
                for _ in range(options.reps):
                    rate, peak, note = ours(os.path.join(data, kind + ".yaml"))
                    mine.append(rate), memory.append(peak)
                    for peer in peers:
                        answer = theirs(peer, kind, path)
                        rates[peer].append(rows / answer["seconds"])
                        peaks[peer] = answer["peak"], answer["found"]
                for peer in peers:
                    peak, found = peaks[peer]
                    equal = peer != "postgres" and note == f"{found[0]} events, {found[1]} users, {found[2]} items"
                    report(f"{rows // 1_000_000} M rows, {kind}", mine,
                           "psycopg, COPY only" if peer == "postgres" else peer, rates[peer], "rows/s",
                           f"peak {max(memory):,.0f} MiB, theirs {peak:,.0f} MiB", equal)
            if rows == options.rows[0]:
                pipeline = os.path.join(data, "pipeline.yaml")
                mine, others = [], {}
                for _ in range(options.reps):
                    mine.append(json.loads(run([LARDER, "bench", "loader", pipeline, "--json"]))["value"])
                    for name, rate in json.loads(run([sys.executable, __file__, "--peer", "torch", "1024",
                                                      os.path.join(data, "events.csv")])).items():
                        others.setdefault(name, []).append(rate)
                for name, values in others.items():
                    # Twelve columns against ours of eleven features, one of them lists, with user and item.
                    report("batches of 1,024", mine, "torch DataLoader" + name, values, "examples/s", equal=False)
            shutil.rmtree(data)
    with open(os.path.join(ROOT, ".bench/load.jsonl"), "w") as file:
        for line in RESULTS: file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
