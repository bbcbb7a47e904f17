#!/bin/sh
# Installs what the tests need, and what pyscard is built with, as root on Debian or Ubuntu; elsewhere names it.
# A second call does nothing.
set -eu

# PACKAGE:WHAT-SHOWS-THAT-IT-IS-THERE; a path, or a program on PATH.
NEEDED="age:age ca-certificates:/etc/ssl/certs/ca-certificates.crt dbus:dbus-daemon fish:fish gawk:awk gcc:gcc git:git gnupg:gpg
  pass:pass pinentry-curses:pinentry
  busybox:busybox groff-base:groff libpcsclite-dev:/usr/include/PCSC/winscard.h man-db:man mmdebstrap:mmdebstrap openssh-client:ssh-keygen
  nix-bin:nix-instantiate
  pcscd:/usr/sbin/pcscd pkg-config:pkg-config python3:/usr/bin/python3 python3-dev:/usr/bin/python3-config
  scdaemon:/usr/lib/gnupg/scdaemon strace:strace systemd:/lib/systemd/systemd util-linux:nsenter
  vsmartcard-vpcd:/usr/lib/pcsc/drivers/serial/libifdvpcd.so zsh:zsh"

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
[ -z "$packages" ] || echo "packages.sh: not installed: ${packages% }; some tests cannot run"
