#!/bin/sh
# Runs what git would run without us. Made by "vault hooks install", taken away by "vault hooks uninstall".
event=@EVENT@
here=${0%/*}
@STATE@
before=@BEFORE@

if [ -x "$before" ] && [ ! -d "$before" ]; then exec "$before" "$@"; fi
[ "$event" = push-to-checkout ] || exit 0

# Without such a hook git updates the work tree itself, and with one it does not: so this does what git does.
git update-index -q --ignore-submodules --refresh || exit
git diff-files --quiet --ignore-submodules -- || exit
if git rev-parse --quiet --verify HEAD >/dev/null; then
  git diff-index --quiet --cached --ignore-submodules HEAD -- || exit
fi
exec git read-tree -u -m "$1"
