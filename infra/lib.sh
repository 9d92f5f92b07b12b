# Shared by infra/run and infra/test: what a fresh machine lacks is installed, quietly unless it fails.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'infra: %s\n' "$*" >&2; exit 1; }

# step NAME COMMAND...: runs a command and says how long it took.
step() {
    local name=$1 began=$SECONDS
    shift
    say "$name"
    "$@" || fail "$name failed after $((SECONDS - began)) s"
    printf '   %s: %d s\n' "$name" $((SECONDS - began))
}

need_swift() {
    command -v swift >/dev/null || fail "Swift 6.2 or later is needed: https://www.swift.org/install/linux/"
}

# need_packages PACKAGE...: Debian packages, installed if dpkg does not know them.
need_packages() {
    command -v dpkg-query >/dev/null || return 0 # another distribution: the build says what is missing
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local sudo="" log
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please install as root: apt-get install ${missing[*]}"
        sudo="sudo"
    fi
    say "Installing ${missing[*]}"
    log=$(mktemp)
    # A mirror that does not answer matters only if the packages then cannot be installed, and that is told below.
    $sudo apt-get update -qq >"$log" 2>&1 || true
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${missing[@]}" >>"$log" 2>&1 ||
        { cat "$log" >&2; fail "apt-get could not install ${missing[*]}"; }
    rm -f "$log"
}

need_build_packages() { need_packages libsqlite3-dev libcurl4-openssl-dev pkg-config; }

# need_command COMMAND PACKAGE: a program, from its Debian package if it is not there.
need_command() { command -v "$1" >/dev/null || need_packages "$2"; }
