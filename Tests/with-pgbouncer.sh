#!/bin/sh
# Runs a command with PgBouncer in transaction mode before the test server: inside
# Tests/with-servers.sh, in its place TEST_POSTGRES then names the pooler.
set -eu

server=${TEST_POSTGRES#host=}
server=${server%% *}
folder=$(mktemp -d /tmp/larder-pool.XXXXXX)
as=""
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as="runuser -u postgres --"
fi
cat >"$folder/pgbouncer.ini" <<INI
[databases]
* = host=$server
[pgbouncer]
pool_mode = transaction
listen_addr =
unix_socket_dir = $folder
listen_port = 5432
auth_type = trust
auth_file = $folder/users
pidfile = $folder/pid
logfile = $folder/log
max_client_conn = 1000
default_pool_size = 6
server_idle_timeout = 2
server_login_retry = 1
INI
echo '"larder" ""' >"$folder/users"

stop() {
    [ ! -f "$folder/pid" ] || kill "$(cat "$folder/pid")" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

cd "$folder"
$as "$(command -v pgbouncer || echo /usr/sbin/pgbouncer)" -q -d "$folder/pgbouncer.ini"
cd - >/dev/null
export TEST_POSTGRES="host=$folder user=larder"
"$@"
