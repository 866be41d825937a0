# A PostgreSQL of its own on a socket file, by a user who may run one: initdb, pgbench, a stop.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
# What the server's user can read and write, also where we are root.
if [ -n "${LD_PRELOAD-}" ]; then
    LD_PRELOAD= cp "$LD_PRELOAD" "$PWD/tap.so"
    export LD_PRELOAD=$PWD/tap.so MALLOC_CONF="${MALLOC_CONF%prof_prefix:*}prof_prefix:$PWD/jeprof"
fi
as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown 65534:65534 .
fi
run() { "${as_user[@]}" "$@"; }

run "$bin/initdb" -D data -U me -A trust -N > initdb.log 2>&1 && echo "initdb 0"
run "$bin/pg_ctl" -D data -l server.log -w -t 120 -o "-c listen_addresses='' -k '$PWD' -c fsync=off" start > start.log 2>&1
trap 'run "$bin/pg_ctl" -D data -m immediate stop > /dev/null 2>&1 || true' EXIT
run "$bin/pgbench" -h "$PWD" -U me -i -s 1 postgres > fill.log 2>&1 && echo "pgbench -i 0"
run "$bin/pgbench" -h "$PWD" -U me -c 4 -j 2 -t 150 postgres 2> bench.err | grep -E 'actually processed|failed'
run "$bin/psql" -h "$PWD" -U me -At -c "select count(*), sum(length(filler)) from pgbench_accounts" \
    -c "select md5(string_agg(x::text, ',')) from generate_series(1, 20000) x" postgres
run "$bin/pg_ctl" -D data -m fast -w -t 120 stop > stop.log 2>&1 && echo "stop 0"
trap - EXIT
# A backend that is still at its end when the server stops is told so (FATAL), which is no trouble.
grep -E 'PANIC|terminated by signal|crash' server.log || echo "no trouble in the log"
