#!/bin/sh
# Renew one lock: scripts/lock.sh PATH_TO_UV build|base|otel|dev|docs|suites. Hashes for every platform, no index host written.
set -eu
uv=$1
set_name=$2
case $set_name in
    build) source="requirements/build.in" ;;
    base) source="pyproject.toml --extra postgres --extra redis" ;;
    otel) source="pyproject.toml --extra postgres --extra redis --extra otel --constraint requirements/base.txt" ;;
    dev) source="pyproject.toml --extra postgres --extra redis --extra otel --group dev --constraint requirements/base.txt --constraint requirements/otel.txt" ;;
    docs) source="requirements/docs.in --constraint requirements/base.txt --constraint requirements/dev.txt" ;;
    suites) source="requirements/suites.in" ;;
    *) echo "lock.sh: unknown set '$set_name' (build, base, otel, dev, docs or suites)" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086  # the words of $source are meant to split
"$uv" pip compile $source --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --quiet --output-file "requirements/$set_name.txt"
