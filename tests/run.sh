#!/bin/sh
# Runs every test: sh tests/run.sh [arguments for cargo nextest, or for cargo test where there is no nextest]
#
# What the tests need and the machine lacks is installed with apt-get, as root or through sudo. Where that fails, the
# script says what is missing and stops before any test has run: a test is never skipped for want of a program.
set -eu
cd "$(dirname "$0")/.."

# What @solana/kit needs at least, and what is fetched from npm where the distribution's node is older.
min_node=20.18
npm_node=22.23.3
npm_npm=10.9.9

needed= # commands
missing= # packages

say() {
    echo "tests/run.sh: $*" >&2
}

stop() {
    say "$*"
    say 'no test has been run'
    exit 1
}

# As a program: `command -v` would also find what is only built into the shell. Debian has PostgreSQL's programs in a
# folder a version, not on PATH, and the tests look there too.
on_path() (
    IFS=:
    for folder in $PATH /usr/lib/postgresql/*/bin; do
        if [ -x "$folder/$1" ]; then exit 0; fi
    done
    exit 1
)

# need COMMAND PACKAGE...: the tests run COMMAND, which these Debian packages bring.
need() {
    command=$1
    shift
    needed="$needed $command"
    if ! on_path "$command"; then missing="$missing $*"; fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_missing() {
    if [ -n "$missing" ]; then
        on_path apt-get || stop "there is no apt-get here: install by hand what brings Debian's$missing"
        [ "$(id -u)" -eq 0 ] || on_path sudo || stop "neither root nor sudo: install$missing, or run this as root"
        say "installing$missing"
        # Stale package lists may still do, so a failing update is only told. A machine just started may be updating itself.
        as_root apt-get -qq -o DPkg::Lock::Timeout=300 update ||
            say 'apt-get update failed: going on with the package lists that are here'
        # shellcheck disable=SC2086 # a list of words
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
            --no-install-recommends $missing >/dev/null ||
            stop "apt-get cannot install$missing"
    fi
    for command in $needed; do
        on_path "$command" || stop "$command is still not there"
    done
}

node_is_recent() {
    node -e 'const [have, want] = process.argv.slice(1).map((v) => v.split(".").map(Number));
        process.exit(have[0] > want[0] || (have[0] === want[0] && have[1] >= want[1]) ? 0 : 1)' \
        "$(node -p process.versions.node)" "$min_node"
}

# The package `node` fetches one of these in an install script; asked for by name, no script has to run. Debian's npm
# runs on Debian's node only, so npm comes along.
ensure_recent_node() {
    if node_is_recent; then return; fi
    folder=$PWD/target/node
    PATH=$folder/node_modules/.bin:$PATH
    export PATH
    if [ -x "$folder/node_modules/.bin/node" ] && node_is_recent; then return; fi
    package=node-$(node -p 'process.platform + "-" + process.arch')@$npm_node
    say "node $(node --version) is older than $min_node: installing $package from npm into target/node"
    mkdir -p "$folder"
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error \
        "$package" "npm@$npm_npm" >&2 || stop "npm cannot install $package: install node >= $min_node with npm by hand"
    hash -r
    node_is_recent || stop "$package does not run here: install node >= $min_node with npm by hand"
}

# ensure_python WHAT FOLDER PINNED: packages from PyPI as pinned, in an environment of their own, away from the system's
# Python. Made in a run that was broken off, it is made again.
ensure_python() {
    what=$1 folder=$PWD/target/$2 pinned=$3
    if [ -x "$folder/bin/python" ] && cmp -s "$pinned" "$folder/installed.txt"; then return; fi
    say "installing $what from PyPI into target/$2"
    rm -rf "$folder"
    python3 -m venv "$folder" || stop 'python3 cannot make a virtual environment: install python3-venv'
    "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$pinned" >&2 ||
        stop "pip cannot install $pinned, which takes Python 3.11 or later"
    cp "$pinned" "$folder/installed.txt"
}

# The clients of x402 that are written for node. None of their install scripts has to run.
ensure_node_clients() {
    folder=$PWD/target/clients/node
    pinned=tests/clients/node
    if cmp -s "$pinned/package-lock.json" "$folder/installed.json"; then return; fi
    say "installing x402's node clients from npm into target/clients/node"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$pinned/package.json" "$pinned/package-lock.json" "$folder"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
        stop "npm cannot install $pinned/package-lock.json"
    cp "$pinned/package-lock.json" "$folder/installed.json"
}

# The clients of x402 that are written in Rust, on other versions of Solana's crates than ours: cargo knows what is new.
ensure_rust_clients() {
    cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target/clients/rust >&2 ||
        stop 'the Rust clients of x402 do not build'
}

need cc gcc libc6-dev # links everything, compiles SQLite
need chromium chromium
need curl curl
need kill procps
need pgrep procps
need initdb postgresql
need postgres postgresql
need prlimit util-linux
need node nodejs
need npm npm ca-certificates
need python3 python3 python3-venv
# Debian's python3 comes without what makes virtual environments.
if on_path python3 && ! python3 -c 'import ensurepip' 2>/dev/null; then missing="$missing python3-venv"; fi
need redis-server redis-server
install_missing
ensure_recent_node
# schemathesis tries every operation of the OpenAPI document.
ensure_python schemathesis schemathesis tests/schemathesis/requirements.txt
ensure_python "x402's Python clients" clients/python tests/clients/python/requirements.txt
ensure_node_clients
ensure_rust_clients

if on_path cargo-nextest; then
    exec cargo nextest run --locked --all-features "$@"
fi
exec cargo test --locked --all-features "$@"
