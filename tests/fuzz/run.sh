#!/bin/sh
# Fuzzes every target in turn, guided by coverage.
#
#   sh tests/fuzz/run.sh SECONDS [TARGET...]     SECONDS for each target
#
# FUZZ_PYTHON names a Python that has atheris and the run-time packages; without it the dependency group
# "fuzz" is used. The exit status is 1 when anything was found; what led to it is in .cache/fuzz.
set -eu
[ $# -ge 1 ] || { echo "usage: sh tests/fuzz/run.sh SECONDS [TARGET...]" >&2; exit 2; }
seconds=$1
shift
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- header armor bech32 ssh-line ssh-key recipient identity-file stanzas file

python() {
  if [ -n "${FUZZ_PYTHON:-}" ]; then
    "$FUZZ_PYTHON" "$@"
  else
    sh tests/support/venv.sh --uv run --quiet --locked --isolated --no-default-groups --group fuzz python "$@"
  fi
}

mkdir -p .cache/fuzz
status=0
for target in "$@"; do
  log=.cache/fuzz/$target.log
  if PYTHONPATH=core:plugins:tests/fuzz python tests/fuzz/fuzz.py "$target" "$seconds" >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
  else
    echo "$target: FOUND, see $log" >&2
    status=1
  fi
  rm -rf .cache/fuzz/"$target"-??*/
done
exit $status
