#!/usr/bin/env bash
# Installs what Fermata needs and this machine does not have. Quiet, and quick, when nothing is missing.
#
# Looks for programs rather than packages, so that a server or browser installed in another way counts.
# On a system without apt it says what to install and ends with 1.
set -euo pipefail

readonly OLDEST_POSTGRES=15

say() { printf 'bootstrap: %s\n' "$*"; }
fail() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
any_of() {
  local program
  for program in "$@"; do
    if has "$program"; then return 0; fi
  done
  return 1
}

# Server programs lie outside the PATH on Debian; one of a new enough version is enough.
has_postgres() {
  local folder version
  for folder in "${PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    if [[ -z "$folder" || ! -x "$folder/initdb" || ! -x "$folder/postgres" ]]; then continue; fi
    # Debian names the folder by the version, which spares a process.
    if [[ "$folder" =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]]; then
      version="${BASH_REMATCH[1]}"
    else
      version="$("$folder/postgres" --version | sed -E 's/.*\) ([0-9]+).*/\1/')"
    fi
    if ((version >= OLDEST_POSTGRES)); then return 0; fi
  done
  if has initdb && has postgres; then
    version="$(postgres --version | sed -E 's/.*\) ([0-9]+).*/\1/')"
    ((version >= OLDEST_POSTGRES)) && return 0
  fi
  return 1
}

# Prints the Debian packages that are missing, one a line.
missing_packages() {
  has_postgres || echo postgresql
  any_of chromium chromium-browser google-chrome google-chrome-stable || echo chromium
  any_of chromedriver chromium-driver || echo chromium-driver
  # A package of its own only on Debian, beside Debian's own chromium.
  if has apt-get && ! any_of google-chrome google-chrome-stable && [[ ! -e /usr/lib/chromium/chrome-sandbox ]]; then
    echo chromium-sandbox
  fi
  { has cc && has g++ && has ld; } || echo build-essential
  any_of pkg-config pkgconf || echo pkg-config
  [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/ssl/cert.pem || -d /etc/pki/tls ]] || echo ca-certificates
  has make || echo make
  has python3 || echo python3
  # Debian keeps what a virtual environment is made with in a package of its own.
  { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || echo python3-venv
  # The clients of others' making that the tests drive the surfaces with.
  has node || echo nodejs
  has npm || echo npm
  has curl || echo curl
}

check_rust() {
  # `make` run by root or from a desktop often lacks the folder rustup installs to.
  if ! has cargo && [[ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]]; then
    fail "cargo is installed but not on the PATH; run: . \"${CARGO_HOME:-$HOME/.cargo}/env\""
  fi
  has cargo || fail "Rust is missing; install it from https://rustup.rs (the version is pinned in rust-toolchain.toml)"
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo "$@"
  fi
}

# Debian's package would create a system-wide server and start it; Fermata brings up its own.
forbid_system_cluster() {
  local file=/etc/postgresql-common/createcluster.conf
  if [[ -e "$file" ]]; then return 0; fi
  as_root mkdir -p "${file%/*}"
  printf 'create_main_cluster = false\n' | as_root tee "$file" >/dev/null
}

install_packages() {
  local -r packages=("$@")
  say "missing on this machine: ${packages[*]}"
  if ! has apt-get; then
    fail "this is not a Debian-like system; install the equivalents of: ${packages[*]} (PostgreSQL $OLDEST_POSTGRES or newer), then run this again"
  fi
  if ((EUID != 0)) && ! has sudo; then
    fail "not root and no sudo; as root run: apt-get install --no-install-recommends ${packages[*]}"
  fi
  if [[ " ${packages[*]} " == *" postgresql "* ]]; then forbid_system_cluster; fi
  say "fetching the package lists…"
  as_root apt-get -qq -o DPkg::Lock::Timeout=120 update
  say "installing ${packages[*]}…"
  # An existing configuration file (ours, above) is kept without a question.
  as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -y -qq -o DPkg::Lock::Timeout=120 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o Dpkg::Use-Pty=0 install --no-install-recommends "${packages[@]}" ||
    fail "apt-get could not install them (its words are above); install the equivalents by hand and run this again. Where chromium is only a snap (Ubuntu), Google Chrome with a matching chromedriver on the PATH will do"
}

# Takes programs out of Debian packages whose installation would start a service that nobody asked for:
# promtool (of prometheus) checks the alerts, pgbouncer stands between the tests and Postgres.
fetch_programs() {
  local -a wanted=()
  has promtool || wanted+=(promtool)
  has pgbouncer || wanted+=(pgbouncer)
  if ((${#wanted[@]} == 0)) || ! has apt-get || ! has dpkg-deb; then return 0; fi
  if ((EUID != 0)) && ! has sudo; then return 0; fi
  local folder program
  for program in "${wanted[@]}"; do
    say "fetching $program…"
    folder="$(mktemp -d "${TMPDIR:-/tmp}/fermata-$program.XXXXXX")"
    # The second time with fresh package lists.
    if ! (cd "$folder" && { "take_$program" || { as_root apt-get -qq update && "take_$program"; }; }); then
      say "$program could not be fetched; the tests that need it say so"
    fi
    rm -rf -- "$folder"
  done
}

take_promtool() {
  apt-get -qq download prometheus >/dev/null 2>&1 &&
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool &&
    as_root install -m 0755 usr/bin/promtool /usr/local/bin/promtool
}

# With the libraries that it brings along, in a folder of their own.
take_pgbouncer() {
  local -r home=/usr/local/lib/fermata-pgbouncer
  local package
  local -a libraries
  mapfile -t libraries < <(apt-cache depends pgbouncer | grep -oE 'lib(event|c-?ares)[^ ]*' | sort -u)
  apt-get -qq download pgbouncer "${libraries[@]}" >/dev/null 2>&1 || return 1
  for package in ./*.deb; do dpkg-deb -x "$package" . || return 1; done
  as_root mkdir -p "$home" && as_root cp -a usr/lib/*/lib*.so* "$home/" &&
    as_root install -m 0755 usr/sbin/pgbouncer "$home/pgbouncer" &&
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/pgbouncer "$@"\n' "$home" "$home" |
    as_root tee /usr/local/bin/pgbouncer >/dev/null && as_root chmod 0755 /usr/local/bin/pgbouncer
}

main() {
  check_rust
  local -a packages
  read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
  if ((${#packages[@]} > 0)); then
    install_packages "${packages[@]}"
    read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
    if ((${#packages[@]} > 0)); then
      fail "still missing after the installation: ${packages[*]} (PostgreSQL must be $OLDEST_POSTGRES or newer)"
    fi
    say "done"
  fi
  if [[ "${1:-}" == tests ]]; then fetch_programs; fi
}

main "$@"
