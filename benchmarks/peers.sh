#!/bin/bash
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# queuepool beside durable peers used as queues that keep the order of groups, in one run on this machine: Redis
# Streams with an append-only file flushed before each answer, one process and two, and PostgreSQL. The peers are
# started here, on free loopback ports, in directories of their own under TMPDIR, each anew for every measurement and
# alone; ROUNDS by turns, of which the median counts. Prints the table and writes it to
# RESULTS/peers.json with versions, flags and every measurement.
#
# QUEUEPOOL=PATH     a program that is built already
# ROUNDS=3           times that every row is measured
# SECONDS_EACH=3     length of each measurement
# BACKLOG=200000     messages that a drain begins with
# RESULTS=DIR        where the JSON goes (default benchmarks/results)
# POSTGRES_BIN=DIR   the directory of initdb and postgres (default that of the newest Debian package)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-3}
export BACKLOG=${BACKLOG:-200000} WARM_UP=1

need python3 python3
need gcc gcc
[ -e /usr/include/hiredis/hiredis.h ] || need hiredis.h libhiredis-dev
[ -e /usr/include/postgresql/libpq-fe.h ] || need libpq-fe.h libpq-dev
postgres_bin=${POSTGRES_BIN:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)}
[ -x "$postgres_bin/initdb" ] || { say "no PostgreSQL: install postgresql, its service need not run"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/queuepool-peers.XXXXXX")
pids=
# Ends the servers that run; PostgreSQL's fast shutdown and Redis' are both SIGINT.
stop_peers() {
    [ -z "$pids" ] || kill -INT $pids 2>/dev/null || true
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    pids=
}
trap 'stop_peers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

find_redis "$work"
redis_flags=(--bind 127.0.0.1 --appendonly yes --appendfsync always --save '' --daemonize no)
start_redis() {
    local data
    data=$(mktemp -d "$work/redis-data.XXXXXX")
    LD_LIBRARY_PATH=$libraries "$redis" --port "$1" --dir "$data" "${redis_flags[@]}" >>"$work/redis.log" 2>&1 &
    pids="$pids $!"
    await "$1"
}

# PostgreSQL refuses to run as root.
as_user=()
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$work"
    as_user=(setpriv --reuid nobody --regid nogroup --clear-groups)
    install -d -o nobody -m 700 "$work/postgres"
else
    mkdir "$work/postgres"
fi
postgres_flags=(-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=on -c synchronous_commit=on
    -c full_page_writes=on -c shared_buffers=1GB -c max_wal_size=4GB -c max_connections=200)
(cd "$work/postgres" && "${as_user[@]}" "$postgres_bin/initdb" -D "$work/postgres/data" -U peer -A trust \
    --no-locale -E UTF8) >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; exit 1; }
start_postgres() {
    (cd "$work/postgres" && exec "${as_user[@]}" "$postgres_bin/postgres" -D "$work/postgres/data" -p "$1" \
        "${postgres_flags[@]}") >>"$work/postgres.log" 2>&1 &
    pids="$pids $!"
    await "$1"
}

# await PORT: until the server started last listens there.
await() {
    for _ in $(seq 200); do
        kill -0 "${pids##* }" 2>/dev/null || break
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.05
    done
    tail -20 "$work"/redis.log "$work"/postgres.log >&2 2>/dev/null || true
    say "a peer did not start"
    return 1
}

gcc -O2 -Wall -Wextra -o "$work/peers" "$here"/peers.c "$here"/peers_redis.c "$here"/peers_postgres.c \
    -I/usr/include/postgresql -lhiredis -lpq -lpthread
program=${QUEUEPOOL:-$(build_release)}
mkdir "$work/results"

# A line of the log of loads: the share of the processors that others use just before a measurement, when nothing of
# ours runs, tells whether the machine was quiet.
note() {
    say "== $1"
    local before after
    before=$(head -1 /proc/stat)
    sleep 0.3
    after=$(head -1 /proc/stat)
    # user nice system idle iowait irq softirq steal
    printf '%s\n%s\n' "$before" "$after" | awk -v name="$1" '
        { busy = $2 + $3 + $4 + $7 + $8 + $9 - busy; rest = $5 + $6 - rest }
        END { printf "%s %.2f\n", name, busy / (busy + rest) }' >>"$work/results/loads"
}

queuepool_flags=(--seconds "$seconds" --warm-up-seconds "$WARM_UP" --groups 1000 --shards 8 --body-bytes 1024 --api sqs)
measure_queuepool() {
    local row=$1
    shift
    note "queuepool.$row.$round"
    "$program" bench run "${queuepool_flags[@]}" --json "$work/results/queuepool.$row.$round.json" "$@" >&2
}
# measure PEER SERVERS ROW
measure() {
    local name=$1$2 port list=
    [ "$name" != postgres1 ] || name=postgres
    note "$name.$3.$round"
    for _ in $(seq "$2"); do
        port=$(free_port)
        list="$list $port"
        "start_$1" "$port"
    done
    # shellcheck disable=SC2086
    PIDS=$pids "$work/peers" "$1" "$3" "$seconds" $list >"$work/results/$name.$3.$round.json"
    stop_peers
    rm -rf "$work"/redis-data.*
}
queuepool_row() {
    case $1 in
        send) measure_queuepool send --batch 1 --connections 64 ;;
        batch) measure_queuepool batch --batch 10 --connections 64 ;;
        drain)
            measure_queuepool drain --mode drain --batch 10 --messages "$BACKLOG" --connections 64 --receivers 8
            measure_queuepool drain64 --mode drain --batch 10 --messages "$BACKLOG" --connections 64 --receivers 64
            ;;
        both) measure_queuepool both --mode both --batch 10 --connections 32 --receivers 32 ;;
    esac
}

for round in $(seq "$rounds"); do
    for row in send batch drain both; do
        queuepool_row $row
        measure redis 1 $row
        measure redis 2 $row
        measure postgres 1 $row
    done
done

mkdir -p "$results"
REDIS_VERSION=$(LD_LIBRARY_PATH=$libraries "$redis" --version) POSTGRES_VERSION=$("$postgres_bin/postgres" --version) \
QUEUEPOOL_VERSION=$("$program" --version) REDIS_FLAGS="${redis_flags[*]}" POSTGRES_FLAGS="${postgres_flags[*]}" \
QUEUEPOOL_FLAGS="${queuepool_flags[*]}" \
    python3 "$here/peers_table.py" "$work/results" "$results/peers.json"
