#!/bin/sh
# Installs what only the tests need: from PyPI into .tools a DuckDB to read Parquet with, a server that
# speaks S3, one of MLflow, what checks signatures of web-hooks, a compiler of CUDA kernels; and clients of Redis.
set -eu
cd "$(dirname "$0")/.."

scripts/install-packages.sh nodejs node-redis
if ! cmp -s Tests/tools.txt .tools/installed.txt; then
    scripts/install-packages.sh python3-venv
    rm -rf .tools
    python3 -m venv .tools
    .tools/bin/pip install -q --disable-pip-version-check -r Tests/tools.txt
    cp Tests/tools.txt .tools/installed.txt
fi
