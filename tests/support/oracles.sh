#!/bin/sh
# Fetches what tests compare with, into .cache: Go's age where there is a Go, typage where there is an npm,
# age-plugin-yubikey where there is a cargo, and a newer git on Debian. What cannot be had is named by the tests that need it. A second call does nothing.
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

AGE_PLUGIN_YUBIKEY=0.5.1
if command -v cargo >/dev/null && [ ! -x ".cache/cargo/$AGE_PLUGIN_YUBIKEY" ]; then
  say "building age-plugin-yubikey $AGE_PLUGIN_YUBIKEY with cargo"
  if cargo install --quiet --locked --debug --force --root .cache/cargo --target-dir .cache/cargo/target "age-plugin-yubikey@$AGE_PLUGIN_YUBIKEY"; then
    ln -s bin/age-plugin-yubikey ".cache/cargo/$AGE_PLUGIN_YUBIKEY"
    rm -rf .cache/cargo/target
  else
    say "cargo could not build age-plugin-yubikey $AGE_PLUGIN_YUBIKEY"
  fi
fi

# git from 2.54 on takes hooks from its configuration, and the current Debian has an older one. So that of Debian's
# next release is put beside it, with the libraries that it was built with, and changes nothing else.
is_new() { # PROGRAM
  "$1" version 2>/dev/null | awk '{ split($3, part, "."); new = part[1] * 1000 + part[2] >= 2054 } END { exit !new }'
}

fetch_git() { # URI
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p lists/partial archives/partial
  echo "deb [signed-by=$keys] $1 unstable main" >sources.list
  for step in update "download git libc6 libpcre2-8-0 zlib1g patchelf libstdc++6 libgcc-s1"; do
    # shellcheck disable=SC2086 # a verb and its words
    apt-get -q -q -o APT::Sandbox::User= -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null \
      -o Dir::State::Lists="$PWD/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$PWD" -o Acquire::Languages=none \
      -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false $step || return
  done
  for package in *.deb; do dpkg-deb --extract "$package" root || return; done
  rm -rf lists archives pkgcache.bin srcpkgcache.bin ./*.deb
}

# Makes it a program like any other, which finds its own loader: hooks read in /proc how git was started.
make_git() {
  core=$PWD/root/usr/lib/git-core
  loader=$(echo "$PWD"/root/usr/lib/*/ld-linux*.so.*)
  libraries=${loader%/*}
  "$loader" --library-path "$libraries" root/usr/bin/patchelf --set-interpreter "$loader" --set-rpath "$libraries" \
    --output git.new "$core/git" || return
  chmod +x git.new
  for path in "$core"/git*; do
    ! cmp -s "$path" root/usr/bin/git || ln -f git.new "$path" || return
  done
  rm git.new
  mkdir bin
  for name in git git-upload-pack git-receive-pack git-upload-archive; do
    cat >"bin/$name" <<END
#!/bin/sh
export GIT_EXEC_PATH='$core' GIT_TEMPLATE_DIR='$PWD/root/usr/share/git-core/templates'
exec '$core/$name' "\$@"
END
    chmod +x "bin/$name"
  done
}

if ! is_new git && ! is_new .cache/newer-git/bin/git && command -v apt-get >/dev/null; then
  # shellcheck disable=SC2016 # apt fills these in
  uri=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^Debian \(.*\/debian\/*\)$/\1/p' | head -n 1)
  if [ -n "$uri" ]; then
    say "fetching a newer git with apt"
    rm -rf .cache/newer-git && mkdir -p .cache/newer-git
    (cd .cache/newer-git && fetch_git "$uri" && make_git) || say "apt could not fetch a newer git"
  fi
fi
