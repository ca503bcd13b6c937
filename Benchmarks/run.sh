#!/bin/sh
# One case beside its peers, on servers of its own that sync to disk: run.sh CASE [its options].
# Results go to .bench/CASE.jsonl, a line a comparison.
set -eu
cd "$(dirname "$0")/.."

case=${1:-}
if [ ! -f "Benchmarks/bench_$case.py" ]; then
    echo "error: there is no case \"$case\"; there is: $(cd Benchmarks && echo bench_*.py | sed "s/bench_//g; s/\.py//g")" >&2
    exit 64
fi
shift
mkdir -p .bench
[ "$case" != serve ] || scripts/install-packages.sh wrk
[ -x .bench/venv/bin/python ] || python3 -m venv .bench/venv
.bench/venv/bin/pip install -q -r "Benchmarks/peers/requirements-$case.txt"
echo "$case, $(git rev-parse --short HEAD), $(date -u +%Y-%m-%d), $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)"
TEST_POSTGRES_OPTIONS="-c fsync=on -c shared_buffers=512MB -c max_wal_size=4GB" \
    Tests/with-servers.sh .bench/venv/bin/python "Benchmarks/bench_$case.py" "$@"
