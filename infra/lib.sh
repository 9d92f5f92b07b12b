# Shared by infra/run and infra/test: what a fresh machine lacks is installed, quietly unless it fails.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'infra: %s\n' "$*" >&2; exit 1; }

need_swift() {
    command -v swift >/dev/null || fail "Swift 6.2 or later is needed: https://www.swift.org/install/linux/"
}

# need_packages PACKAGE...: Debian packages, installed if dpkg does not know them.
need_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=""
    [ "$(id -u)" -eq 0 ] || sudo="sudo"
    say "Installing ${missing[*]}"
    $sudo apt-get update -qq >/dev/null || true
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${missing[@]}" >/tmp/queuepool-apt.log 2>&1 ||
        { cat /tmp/queuepool-apt.log >&2; fail "apt-get could not install ${missing[*]}"; }
}

need_build_packages() { need_packages libsqlite3-dev libcurl4-openssl-dev pkg-config; }
