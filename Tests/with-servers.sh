#!/bin/sh
# Runs a command with throw-away servers: TEST_POSTGRES, TEST_REDIS, TEST_WEB and AWS_ENDPOINT_URL say
# where they are.
# Postgres refuses root, so for root the servers belong to the postgres account.
set -eu

helpers=""
# Nothing here must outlive the tests: in memory, where there is room for it, no disk makes them wait.
room=$(df -k --output=avail /dev/shm 2>/dev/null | tail -1 || true)
[ "${room:-0}" -lt 8000000 ] || export TMPDIR=/dev/shm
folder=$(mktemp -d "${TMPDIR:-/tmp}/larder-test.XXXXXX")
as=""
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as="runuser -u postgres --"
fi
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
PATH="$PATH:$bin"

stop() {
    $as "$(command -v pg_ctl)" -D "$folder/postgres" -m immediate -w stop >/dev/null 2>&1 || true
    [ ! -f "$folder/redis.pid" ] || kill -9 "$(cat "$folder/redis.pid")" 2>/dev/null || true
    [ -z "$helpers" ] || kill $helpers 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

cd "$folder"
$as "$(command -v initdb)" -D postgres -U larder --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
    >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
# Nothing is synced; a benchmark says otherwise.
$as "$(command -v pg_ctl)" -D "$folder/postgres" -l "$folder/postgres.log" -w start -o \
    "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=600 ${TEST_POSTGRES_OPTIONS:--c fsync=off}" \
    >/dev/null || { cat postgres.log >&2; exit 1; }
$as redis-server --port 0 --unixsocket "$folder/redis.sock" --daemonize yes --dir "$folder" \
    --pidfile "$folder/redis.pid" --save "" --appendonly no >/dev/null
cd - >/dev/null

if [ -x .tools/bin/python ]; then
    mkdir "$folder/web"
    .tools/bin/python Tests/s3_server.py "$folder/s3.env" >"$folder/s3.log" 2>&1 &
    helpers="$!"
    .tools/bin/python Tests/web_server.py "$folder/web" "$folder/web.env" >"$folder/web.log" 2>&1 &
    helpers="$helpers $!"
    for name in s3 web; do
        waited=0
        until [ -f "$folder/$name.env" ]; do
            sleep 0.2
            waited=$((waited + 1))
            [ "$waited" -lt 300 ] || { cat "$folder/$name.log" >&2; exit 1; }
        done
        . "$folder/$name.env"
    done
fi
export LARDER_DUCKDB="$PWD/.tools/bin/duckdb"
# The compiler of CUDA kernels, which needs no GPU.
for library in "$PWD"/.tools/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib; do export TEST_NVRTC="$library"; done
export TEST_POSTGRES="host=$folder user=larder"
export TEST_REDIS="unix://$folder/redis.sock"
"$@"
