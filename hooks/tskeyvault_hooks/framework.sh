#!/bin/sh
# What pre-commit and prek run: pre-commit | commit-msg FILE | pre-push. They install nothing for it; python3 will do.
exec python3 -I -S "${0%/*}/framework.py" "$@"
