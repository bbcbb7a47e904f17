#!/bin/sh
# Makes .venv from uv.lock. Needs python3 (3.11 or newer) and the network; no pip, no uv, no root. The development
# dependencies have pyscard, which is built here: packages.sh installs what that takes.
#
#   sh tests/support/venv.sh              with the development dependencies
#   sh tests/support/venv.sh --no-dev     the run-time ones; takes nothing away that is there
#   sh tests/support/venv.sh --uv ARG...  runs uv itself, in the same environment
#
# All that it makes lies in .venv and .cache, which git ignores. A second call does nothing.
set -eu

PIP=26.3
PIP_SHA256=f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13
UV=0.13.9
# The wheels of uv for Linux on x86_64 (glibc, musl) and aarch64 (any, glibc); elsewhere install uv first.
UV_SHA256="
d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25
5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe
ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375
"

say() { echo "venv.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# The path of the first python3 that is new enough, past the shims of version managers.
find_python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    "$name" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)' 2>/dev/null && return
  done
  return 1
}

# fetch_pip FILE: the pinned wheel of pip, through PyPI's JSON index.
fetch_pip() {
  "$python" - "$1" "$PIP_SHA256" <<'END'
import hashlib, json, os, sys, urllib.error, urllib.parse, urllib.request

path, sha256 = sys.argv[1:]
index = "https://pypi.org/simple/pip/"
accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
try:
    with urllib.request.urlopen(urllib.request.Request(index, headers=accept), timeout=60) as answer:
        files = json.load(answer)["files"]
    url = next(file["url"] for file in files if file["filename"] == os.path.basename(path))
    with urllib.request.urlopen(urllib.parse.urljoin(index, url), timeout=60) as answer:
        wheel = answer.read()
except urllib.error.URLError as error:
    sys.exit(f"venv.sh: cannot fetch pip from pypi.org (is the package ca-certificates there?): {error.reason}")
if hashlib.sha256(wheel).hexdigest() != sha256:
    sys.exit(f"venv.sh: {os.path.basename(path)} is not the one that was pinned")
with open(path + ".part", "wb") as file:
    file.write(wheel)
os.replace(path + ".part", path)
END
}

fetch_uv() {
  say "fetching uv $UV into .cache"
  wheel=$PWD/.cache/pip-$PIP-py3-none-any.whl
  [ -f "$wheel" ] || fetch_pip "$wheel"
  rm -rf .cache/uv .cache/uv.part
  requirement="uv==$UV"
  for sha256 in $UV_SHA256; do requirement="$requirement --hash=sha256:$sha256"; done
  # A user's pip.conf may name a mirror or a certificate, and so is read; these two would be in the way.
  echo "$requirement" | PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$python" "$wheel/pip" install \
    --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --only-binary=:all: --target .cache/uv.part -r /dev/stdin ||
    die "cannot fetch uv $UV; with a uv on PATH this is not needed"
  mv .cache/uv.part .cache/uv
}

# Sets $uv: the one on PATH, else our own.
find_uv() {
  uv=$(command -v uv || true)
  if [ -n "$uv" ] && "$uv" --version >/dev/null 2>&1; then return; fi
  uv=$PWD/.cache/uv/bin/uv
  case $("$uv" --version 2>/dev/null || true) in
    "uv $UV" | "uv $UV "*) ;;
    *) fetch_uv ;;
  esac
}

# What the environment was made from. The checkout's own path is part of it: .venv points to it.
state() { pwd -P; cksum pyproject.toml uv.lock; }

is_made() { # KIND...
  [ -x .venv/bin/python ] || return 1
  for kind in "$@"; do
    if [ "$(cat ".venv/made-$kind" 2>/dev/null)" = "$(state)" ]; then return 0; fi
  done
  return 1
}

make() { # KIND UV-OPTION...
  kind=$1
  shift
  rm -f .venv/made-*
  # Where PYTHONDONTWRITEBYTECODE is set nothing else would compile, and every start would be slow.
  "$uv" sync --quiet --locked --compile-bytecode "$@"
  state >".venv/made-$kind"
}

cd "$(dirname "$0")/../.."
case ${1:-} in
  "") is_made dev && exit ;;
  --no-dev) is_made dev run && exit ;;
  --uv) ;;
  *) die "unknown option $1" ;;
esac
python=$(find_python) || die "no python3 of version 3.11 or newer is on PATH"
mkdir -p .cache/tmp
find_uv
# uv leaves its lock files in TMPDIR.
export TMPDIR="$PWD/.cache/tmp"
export UV_CACHE_DIR="$PWD/.cache/uv-cache" UV_PROJECT_ENVIRONMENT="$PWD/.venv"
export UV_PYTHON="$python" UV_PYTHON_DOWNLOADS=never
# Like pip: behind a company's proxy only the system's certificates will do.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
case ${1:-} in
  "") make dev ;;
  --no-dev) make run --no-dev --inexact ;;
  --uv) shift && exec "$uv" "$@" ;;
esac
