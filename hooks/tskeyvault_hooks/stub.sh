#!/bin/sh
# Lets no key pass. Made by "vault hooks install", taken away by "vault hooks uninstall"; do not edit.
event=@EVENT@
python=@PYTHON@
scanner=@SCANNER@
here=${0%/*}
@STATE@
before=@BEFORE@

refuse() {
  echo "vault: $event: $1, so nothing passes" >&2
  echo "hint: vault hooks install mends it, vault hooks uninstall takes it away" >&2
  exit 1
}

# Tells whether nothing in the file is as long as a key; programs that could tell would take as long to start as this.
short() { # FILE
  for values in "$state"/slow*; do
    [ ! -e "$values" ] || return 1
  done
  LC_ALL=C
  one='[![:space:]]'
  four=$one$one$one$one
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *$four$four$four$four*) return 1 ;; esac
  done <"$1"
}

# Says which process of git asks: the next one of that number began later.
asks() {
  read -r process <"/proc/$PPID/stat" || return
  # shellcheck disable=SC2086 # its fields, behind a name that may have anything in it
  set -- ${process##*) }
  caller=$PPID-${20}
} 2>/dev/null

@PRESENT@
input=
found=
if [ -x "$before" ] && [ ! -d "$before" ]; then
  found=yes
@ONCE@
  case $event in
  pre-push | pre-receive)
    input=$(cat && echo .) || refuse "its input cannot be read"
    printf %s "${input%.}" 2>/dev/null | "$before" "$@" || exit
    ;;
  *) "$before" "$@" || exit ;;
  esac
fi

case $event in
commit-msg) ! short "$1" || exit 0 ;;
prepare-commit-msg)
  # The same git has asked pre-commit about the same index; so it will ask commit-msg about the message.
  if asks && [ "$state/scanned/$caller" -ef "$GIT_INDEX_FILE" ]; then exit 0; fi
  ;;
esac

[ -x "$python" ] || refuse "the interpreter $python is gone"
[ -f "$scanner" ] || refuse "the scanner $scanner is gone"
case $event$found in
pre-pushyes | pre-receiveyes)
  printf %s "${input%.}" | "$python" -I -S "$scanner" "$event" "$state" "$PPID" "$@"
  ;;
*) "$python" -I -S "$scanner" "$event" "$state" "$PPID" "$@" ;;
esac
status=$?
case $status in
0) exit 0 ;;
10) exit 1 ;;
*) refuse "the scanner failed with status $status" ;;
esac
