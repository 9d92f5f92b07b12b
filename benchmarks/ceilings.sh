#!/bin/bash
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# The ceilings that every figure is a ratio to, on this machine, now: nginx answering 200 to the same POST under wrk, and
# SQLite with nothing above it. Prints JSON; progress goes to stderr.
# SECONDS_EACH (default 5): length of each measurement.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
seconds=${SECONDS_EACH:-5}

need nginx nginx-light
need wrk wrk
need gcc gcc
[ -e /usr/include/sqlite3.h ] || need sqlite3.h libsqlite3-dev

work=$(mktemp -d "${TMPDIR:-/tmp}/queuepool-ceilings.XXXXXX")
nginx_pid=
cleanup() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

port=$(free_port)
cat >"$work/nginx.conf" <<CONF
worker_processes auto;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:$port backlog=1024;
        location / { default_type application/json; return 200 '{"id":"0"}'; }
    }
}
CONF
PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" 2>"$work/nginx.log" &
nginx_pid=$!
for _ in $(seq 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done
say "nginx under wrk, 64 connections, ${seconds} s"
wrk -t 2 -c 64 -d 1 -s "$here/post.lua" "http://127.0.0.1:$port" >/dev/null
wrk -t 2 -c 64 -d "$seconds" -s "$here/post.lua" "http://127.0.0.1:$port" >"$work/wrk.txt"
kill "$nginx_pid"
wait "$nginx_pid" 2>/dev/null || true
nginx_pid=
if grep -q "Non-2xx" "$work/wrk.txt"; then
    say "nginx answered errors"
    exit 1
fi
requests=$(awk '/^Requests\/sec/ { printf "%.0f", $2 }' "$work/wrk.txt")

say "raw SQLite, 8 files, 64 rows a commit, 2 threads, ${seconds} s of inserts"
gcc -O2 -Wall -Wextra -o "$work/raw_sqlite" "$here/raw_sqlite.c" -lsqlite3 -lpthread
mkdir "$work/data"
raw=$("$work/raw_sqlite" "$work/data" 8 2 64 1024 "$seconds")
printf '{"kind": "ceilings", "nginxRequestsPerSecond": %s, "raw": %s}\n' "$requests" "$raw"
