#!/bin/sh
# Unpacks into .cache/swtpm, on Debian or Ubuntu, a software TPM 2.0 and the libraries by which systemd speaks to one.
# They are not installed, which would bring udev to the host; a machine of the tests gets a copy. A second call does nothing.
set -eu
cd "$(dirname "$0")/../.."

TREE=.cache/swtpm
# The beginning of each package's name, which goes on differently in each release.
NEEDED="swtpm swtpm-libs libtpms0 libtss2-mu libtss2-rc0 libtss2-sys1 libtss2-esys libtss2-tcti-swtpm0"

if [ -e "$TREE/usr/bin/swtpm" ] || ! command -v apt-get >/dev/null; then
  exit 0
fi
rm -rf "$TREE" "$TREE.part"
mkdir -p "$TREE.part/packages"
for stem in $NEEDED; do
  # -esys-3.0.2-0 and -mu0 in one release are -esys-3.0.2-0t64 and -mu-4.0.1-0t64 in another.
  apt-cache pkgnames "$stem" | grep -Ex "$stem(-?[0-9.]+)*(t64)?" | sort | tail -n 1
done >"$TREE.part/names"
# shellcheck disable=SC2046 # one word for each package
if (cd "$TREE.part/packages" && apt-get download -q $(cat ../names)) >"$TREE.part/log" 2>&1; then
  for package in "$TREE.part"/packages/*.deb; do
    dpkg -x "$package" "$TREE.part"
  done
  rm -rf "$TREE.part/packages" "$TREE.part/usr/share"
  mv "$TREE.part" "$TREE"
else
  rm -rf "$TREE.part"
  echo "swtpm.sh: apt-get cannot download a software TPM; the tests that need it name it" >&2
fi
