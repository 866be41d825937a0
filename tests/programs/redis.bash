# A Redis of its own on a socket file: fill it, put redis-benchmark's load on it, save it from a forked child, stop it.
set -euo pipefail

redis-server --port 0 --unixsocket "$PWD/redis.sock" --dir "$PWD" --save '' --daemonize no > server.log &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for _ in {1..200}; do
    [ -S redis.sock ] && redis-cli -s redis.sock ping > /dev/null 2>&1 && break
    sleep 0.05
done
for i in {1..2000}; do echo "set key$i $(printf 'v%.0s' {1..50})$i"; done | redis-cli -s redis.sock --pipe > /dev/null
redis-cli -s redis.sock dbsize
redis-benchmark -s redis.sock -n 10000 -c 20 -r 1000 -t set,get,lpush,lrange_100,mset -q > benchmark.log && echo "benchmark $?"
grep -c 'requests per second' benchmark.log
redis-cli -s redis.sock bgsave > /dev/null
for _ in {1..200}; do
    redis-cli -s redis.sock info persistence | grep -q rdb_bgsave_in_progress:0 && break
    sleep 0.05
done
redis-cli -s redis.sock info persistence | grep -o rdb_last_bgsave_status:ok
redis-cli -s redis.sock shutdown nosave || true
wait "$server"
trap - EXIT
echo "ended with $?"
