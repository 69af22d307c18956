#!/bin/sh
# Set-up for the Makefile.
#   setup.sh venv DIRECTORY WHAT   make a virtual environment and install WHAT into it, editable
#   setup.sh system                install the system packages that the tests use, where root
set -eu

say() { printf '%s\n' "$*"; }
is_root() { [ "$(id -u)" = 0 ]; }

# Version 3.10 or newer, and really there: pyenv's shims answer to names whose version is not chosen.
suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
        if suits "$name" && "$@" "$name"; then
            say "$name"
            return 0
        fi
    done
    return 1
}

venv() {
    if [ ! -x "$1/bin/python" ] || ! suits "$1/bin/python"; then
        python=$(find_python makes_venvs) || python=$(venv_from_apt)
        say "setting up $1 with $("$python" --version)"
        "$python" -m venv --clear "$1"
    fi
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$2"
}

# Debian packs venv apart from Python.
venv_from_apt() {
    python=$(find_python true) || fail "Python 3.10 or newer is needed" "apt-get install python3 python3-venv"
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    if is_root && command -v apt-get >/dev/null; then
        apt "$version-venv" >&2 || fail "apt-get could not install $version-venv" "is there a network?"
        say "$python"
    else
        fail "$version has no venv module" "sudo apt-get install $version-venv"
    fi
}

fail() {
    say "error: $1" "hint: $2" >&2
    exit 1
}

apt() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2 || true # old lists may still do
    apt-get install --quiet=2 --no-install-recommends "$@" >/dev/null
}

# command:package, as Debian names them.
NEEDS="
    gcc:gcc  musl-gcc:musl-tools  pkg-config:pkg-config  mariadb_config:libmariadb-dev  python3-config:python3-dev
    mariadbd:mariadb-server  postgres:postgresql  rsyslogd:rsyslog  /lib/systemd/systemd-journal-remote:systemd-journal-remote
    journalctl:systemd  zstd:zstd
    rg:ripgrep  hyperfine:hyperfine  lsof:lsof  fuser:psmisc  lslocks:util-linux  setpriv:util-linux
    strace:strace  gdb:gdb  addr2line:binutils  xz:xz-utils  debuginfod:debuginfod  zstd:zstd  lz4:lz4
"

missing() {
    for need in $NEEDS; do
        command -v "${need%%:*}" >/dev/null || printf ' %s' "${need#*:}"
    done
}

system() {
    PATH=$PATH:/usr/sbin:/sbin # servers live there, ordinary users do not look there
    for place in /usr/lib/postgresql/*/bin; do PATH=$PATH:$place; done # Debian's, version by version
    packages=$(missing)
    [ -n "$packages" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "skip: no apt-get here; tests that need one of these will be skipped:$packages"
    elif ! is_root; then
        say "skip: not root, so nothing is installed; for all tests: sudo apt-get install$packages"
    else
        say "installing:$packages"
        # shellcheck disable=SC2086  # one word a package
        apt $packages || for package in $packages; do
            apt "$package" || say "skip: apt-get could not install $package (no network?)"
        done
    fi
}

"$@"
