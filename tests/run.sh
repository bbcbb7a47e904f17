#!/bin/sh
# Sets up all that the tests need, and runs them; arguments are pytest's, and so is the exit status.
#
#   sh tests/run.sh [PYTEST-OPTION...]
#
# As root on Debian or Ubuntu the missing packages are installed; elsewhere they are named. The last lines
# name every test that could not run here; with TSKEYVAULT_REQUIRE_ALL=1 these fail.
set -eu
cd "$(dirname "$0")/.."

sh tests/support/packages.sh
sh tests/support/venv.sh
sh tests/support/oracles.sh
sh tests/support/trixie.sh
sh tests/support/swtpm.sh
PATH="$PATH:$PWD/.cache/go-age"
exec .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder "$@"
