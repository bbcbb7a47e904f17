#!/bin/sh
# Lets no key pass. Made by "vault hooks install", taken away by "vault hooks uninstall"; do not edit.
@PROGRAM@
event=${0##*/}
here=${0%/*}
state=@STATE@
before=@BEFORE@
export VAULT_GIT=$PPID

refuse() {
  echo "vault: $event: $1, so nothing passes" >&2
  echo "hint: vault hooks install mends it, vault hooks uninstall takes it away" >&2
  exit 1
}

# Tells whether nothing in the file $1 is as long as a key.
short() {
  [ ! -e "$state/slow" ] || return 1
  LC_ALL=C grep -aqE '[^[:space:]]{16}' "$1"
  [ $? = 1 ]
}

input=
case $event in
pre-push | pre-receive | post-receive | post-rewrite | reference-transaction | proc-receive) input=$(cat && echo .) && input=${input%.} ;;
esac
if [ -x "$before" ] && [ ! -d "$before" ]; then
  printf %s "$input" | "$before" "$@" || exit $?
fi

case $event in
commit-msg) ! short "$1" || exit 0 ;;
prepare-commit-msg)
  marks=${GIT_INDEX_FILE%/*}/vault-scanned
  if [ -s "$marks" ] && { tail -c 20 "$GIT_INDEX_FILE" && printf %s "$VAULT_GIT"; } | cmp -s - "$marks"; then
    true >"$marks" # it holds for one commit
    ! short "$1" || exit 0
    event=commit-msg # of which the message is left to scan
  fi
  ;;
pre-commit | pre-merge-commit | pre-applypatch | pre-push | pre-receive) ;;
*) exit 0 ;;
esac

[ -x "$python" ] || refuse "the interpreter $python is gone"
[ -f "$scanner" ] || refuse "the scanner $scanner is gone"
case $event in
pre-push | pre-receive) printf %s "$input" | "$python" -I -S "$scanner" "$event" "$state" "$@" ;;
*) "$python" -I -S "$scanner" "$event" "$state" "$@" ;;
esac
status=$?
case $status in
0) exit 0 ;;
10) exit 1 ;;
*) refuse "the scanner failed with status $status" ;;
esac
