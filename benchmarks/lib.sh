# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# Helpers of the benchmark scripts; sourced, not run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
results=${RESULTS:-$here/results}

say() { printf '%s\n' "$*" >&2; }

# need COMMAND PACKAGE: installs a Debian package unless its command is there.
need() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] && return 0
    say "installing $2"
    local as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get install -y --no-install-recommends "$2" >&2 \
        || { $as_root apt-get update >&2 && $as_root apt-get install -y --no-install-recommends "$2" >&2; }
}

# free_port: a loopback port nobody listens on at the moment.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# figure FILE PATH...: one value out of a result; PATH is keys and list indices. A phase is named by its name.
figure() {
    python3 - "$@" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    if isinstance(value, list):
        value = next(item for item in value if item.get("name") == key)
    else:
        value = value[key]
print(value)
PY
}

# build_release: the program as users run it; prints its path.
build_release() {
    (cd "$root" && swift build -c release --product queuepool >&2)
    local path
    path=$(cd "$root" && swift build -c release --show-bin-path)/queuepool
    [ -x "$path" ] || { say "no program at $path"; return 1; }
    printf '%s\n' "$path"
}

# start_server PROGRAM DATA_DIR PORT [ARGUMENT...]: starts `serve`, waits until it is ready; sets server_pid and
# ready_milliseconds (from the start of the process to the first 200 of /readyz).
start_server() {
    local program=$1 data=$2 port=$3 began
    shift 3
    began=$(date +%s%N)
    "$program" serve --listen "127.0.0.1:$port" --data-dir "$data" "$@" >"$data.log" 2>&1 &
    server_pid=$!
    ready_milliseconds=$(python3 - "$port" "$began" "$server_pid" <<'PY'
import http.client, os, sys, time
port, began, pid = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
while time.time_ns() - began < 300e9:
    try:
        os.kill(pid, 0)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/readyz")
        if connection.getresponse().status == 200:
            print((time.time_ns() - began) // 1_000_000)
            sys.exit(0)
    except ProcessLookupError:
        break
    except OSError:
        pass
    time.sleep(0.005)
sys.exit("the server did not become ready")
PY
    ) || { say "see $data.log"; return 1; }
}

# stop_server: SIGTERM and wait; fails when the exit code is not 0.
stop_server() {
    kill -TERM "$server_pid"
    wait "$server_pid"
    server_pid=
}

# resident_bytes PID
resident_bytes() { awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$1/status"; }

# find_redis DIRECTORY: sets redis to a redis-server and libraries to what its LD_LIBRARY_PATH needs. Where there is none
# it is taken out of its package into the directory, because installing that would start a service on the default port.
find_redis() {
    redis=$(command -v redis-server || true)
    libraries=
    [ -z "$redis" ] || return 0
    say "unpacking redis-server"
    mkdir "$1/packages"
    (cd "$1/packages" && apt-get download redis-server redis-tools libjemalloc2 liblzf1 >&2 2>"$1/apt.log") \
        || { cat "$1/apt.log" >&2; return 1; }
    local package
    for package in "$1"/packages/*.deb; do dpkg -x "$package" "$1/redis"; done
    redis=$1/redis/usr/bin/redis-server
    libraries=$(dirname "$(find "$1/redis" -name 'libjemalloc.so.2' | head -1)")
}
