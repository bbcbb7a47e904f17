#!/bin/sh
# Fetches the other implementations of age that tests compare with, into .cache: Go's where there is a Go, and
# typage where there is an npm. What cannot be had is named by the tests that need it. A second call does nothing.
set -eu
cd "$(dirname "$0")/../.."

AGE=v1.3.2
say() { echo "oracles.sh: $*" >&2; }

if command -v go >/dev/null && [ ! -x ".cache/go-age/$AGE" ]; then
  say "building age $AGE with go"
  mkdir -p .cache/go-age
  if GOBIN="$PWD/.cache/go-age" GOPATH="$PWD/.cache/go" GOCACHE="$PWD/.cache/go/build" GOFLAGS=-modcacherw GOTOOLCHAIN=local \
    go install "filippo.io/age/cmd/age@$AGE" "filippo.io/age/cmd/age-keygen@$AGE" \
    "filippo.io/age/extra/age-plugin-pq@$AGE" "filippo.io/age/extra/age-plugin-tag@$AGE"; then
    ln -s age ".cache/go-age/$AGE"
  else
    say "go could not build age $AGE"
  fi
fi

lock=tests/plugins/age/interop/package-lock.json
if command -v npm >/dev/null && ! cmp -s "$lock" .cache/typage/package-lock.json; then
  say "fetching typage with npm"
  mkdir -p .cache/typage
  cp tests/plugins/age/interop/package.json .cache/typage/
  cp "$lock" .cache/typage/package-lock.part.json
  (cd .cache/typage && mv package-lock.part.json package-lock.json &&
    npm ci --silent --no-audit --no-fund --ignore-scripts --cache "$PWD/npm-cache") ||
    { say "npm could not fetch typage" && rm -f .cache/typage/package-lock.json; }
fi
