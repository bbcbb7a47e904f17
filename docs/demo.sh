#!/bin/sh
# Shows the main job: a key into a vault in git, and out of it as a file for a service.
# Everything happens in temporary directories, which are removed; .venv and .cache stay in the checkout.
set -eu
umask 077
cd "$(dirname "$0")/.."
sh tests/support/venv.sh --no-dev
PATH="$PWD/.venv/bin:$PATH"

# A directory in memory, as /run/SERVICE is; a plain user may not write below /run.
memory=
for place in "${XDG_RUNTIME_DIR:-}" /dev/shm /run; do
  if [ -w "$place" ] && [ "$(stat --file-system --format=%T "$place")" = tmpfs ]; then memory=$place; break; fi
done
[ "$memory" ] || { echo "demo.sh: no tmpfs that this user may write"; exit 1; }
work=$(mktemp -d)
run=$(mktemp -d "$memory/vault-demo.XXXXXX")
trap 'rm -rf "$work" "$run"' EXIT
trap 'exit 1' HUP INT TERM

# Nothing of the user's own is read or changed.
export HOME="$work" XDG_CONFIG_HOME="$work/config" XDG_STATE_HOME="$work/state"
export GIT_CONFIG_GLOBAL="$work/gitconfig" GIT_CONFIG_NOSYSTEM=1
unset TSKEYVAULT_DIR TSKEYVAULT_IDENTITY CREDENTIALS_DIRECTORY STATE_DIRECTORY RUNTIME_DIRECTORY GIT_DIR GIT_WORK_TREE
git config --global user.name "Demo" && git config --global user.email "demo@example.invalid"
git config --global init.defaultBranch main
# Made up on the spot: no key ever stands in this repository.
key="tskey-""auth-kDEMO$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')CNTRL-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"

say() { printf '\n# %s\n' "$*"; }
show() { printf '$ %s\n' "$*" && "$@" 2>&1; }

mkdir "$work/infra" && cd "$work/infra"
say "a vault in a git repository, and an age key to open it with"
show vault init
say "an auth key, made up for this demo, goes in: encrypted, and committed"
printf '$ %s\n' "vault insert tailscale/container-key < key"
printf %s "$key" | vault insert tailscale/container-key 2>&1
show git log --oneline
say "which secrets a service gets, and as which files, stands in vault.toml"
cat >>vault.toml <<'END'

[services.tailscale-sidecar.files.tskey]
secret = "tailscale/container-key"

[services.tailscale-sidecar.files."sidecar.env"]
format = "env"
values = { TS_AUTHKEY = "tailscale/container-key" }
END
tail -n 6 vault.toml
git commit -q -a -m "Describe the sidecar"
say "what a unit does in ExecStartPre=, with the directory that systemd made for it (here $run)"
export RUNTIME_DIRECTORY="$run"
show vault materialize tailscale-sidecar
show stat --format='%A %U:%G %n' "$run" "$run/tskey" "$run/sidecar.env"
show stat --file-system --format='%T' "$run"

[ "$(cat "$run/tskey")" = "$key" ] || { echo "the service would have read something else"; exit 1; }
say "the service reads the key that went in: $(head -c 10 "$run/tskey")...$(tail -c 4 "$run/tskey")"
if git log -p --all --text | grep -qFf "$run/tskey" || grep -rqFf "$run/tskey" "$work"; then
  echo "the plain key is on the disk"; exit 1
fi
say "the plain key is nowhere in git's history, and nowhere on the disk"
show vault materialize tailscale-sidecar --clean
unset RUNTIME_DIRECTORY
say "done: a unit that does this is in docs/systemd.md; the demo's files are removed"
