#!/bin/sh
# Makes .cache/trixie, as root on Debian: a tree of Debian 13 with its systemd 257, podman 5, quadlet and docker, which
# tests boot beside the host's own systemd. Needs mmdebstrap (packages.sh) and the Debian mirror of its apt sources.
# What cannot be had is named by the tests that need it. A second call does nothing.
set -eu
cd "$(dirname "$0")/../.."

TREE=.cache/trixie
PACKAGES="systemd systemd-sysv dbus libnss-systemd python3 python3-venv iproute2 procps git gnupg scdaemon pass age
  podman podman-compose docker.io docker-cli docker-compose crun netavark aardvark-dns nftables iptables passt catatonit
  busybox-static ca-certificates"

say() { echo "trixie.sh: $*" >&2; }

keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ "$(cat "$TREE/made" 2>/dev/null)" = "$PACKAGES" ] || [ "$(id -u)" != 0 ] || [ ! -e "$keys" ] ||
  ! command -v mmdebstrap >/dev/null; then
  exit 0
fi
# shellcheck disable=SC2016 # apt fills these in
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  sed -n 's/^Debian \(.*\/debian\/*\)$/\1/p' | head -n 1)
[ -n "$mirror" ] || exit 0

say "making a tree of Debian 13 from $mirror"
rm -rf --one-file-system "$TREE" "$TREE.part"
mkdir -p .cache/tmp
# What it mounts there is gone with it, also when it is killed.
# shellcheck disable=SC2086 # one word for each package
if TMPDIR=$PWD/.cache/tmp unshare --mount --propagation private \
  mmdebstrap --quiet --mode=root --variant=apt --keyring="$keys" --include="$(echo $PACKAGES | tr ' ' ,)" \
  --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' trixie "$TREE.part" "$mirror"; then
  # What is in it is known before it is there by its name.
  echo "$PACKAGES" >"$TREE.part/made"
  mv "$TREE.part" "$TREE"
else
  rm -rf --one-file-system "$TREE.part"
  say "mmdebstrap could not make a tree of Debian 13; the tests that need it name it"
fi
