#!/bin/sh
# Sets up all that the tests need, and runs them; arguments are pytest's, and so is the exit status.
#
#   sh tests/run.sh [PYTEST-OPTION...]
#
# As root on Debian or Ubuntu the missing packages are installed; elsewhere they are named. The last lines
# name every test that could not run here; with TSKEYVAULT_REQUIRE_ALL=1 these fail.
set -eu
cd "$(dirname "$0")/.."

# PACKAGE:WHAT-SHOWS-THAT-IT-IS-THERE; a path, or a program on PATH.
NEEDED="age:age ca-certificates:/etc/ssl/certs/ca-certificates.crt dbus:dbus-daemon fish:fish git:git
  gawk:awk gnupg:gpg pass:pass pinentry-curses:pinentry busybox:busybox groff-base:groff man-db:man openssh-client:ssh-keygen python3:/usr/bin/python3 strace:strace systemd:/lib/systemd/systemd util-linux:nsenter zsh:zsh"

missing() {
  for pair in $NEEDED; do
    command -v "${pair#*:}" >/dev/null || [ -e "${pair#*:}" ] || printf '%s ' "${pair%%:*}"
  done
}

install_packages() { # PACKAGE...
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q </dev/null && apt-get install -q -y --no-install-recommends "$@" </dev/null
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # shellcheck disable=SC2086 # one word for each package
  install_packages $packages || true
  packages=$(missing)
fi
[ -z "$packages" ] || echo "run.sh: not installed: ${packages% }; some tests cannot run"

sh tests/support/venv.sh
sh tests/support/oracles.sh
PATH="$PATH:$PWD/.cache/go-age"
exec .venv/bin/python -m pytest -n auto --dist loadfile "$@"
