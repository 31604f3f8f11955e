#!/bin/sh
# Renews the lock files from pyproject.toml. Needs uv (pip install uv). None of them names a registry.
set -eu
cd "$(dirname "$0")/.."
lock() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --custom-compile-command "make lock" --overrides requirements/overrides.txt "$@" >/dev/null
}
lock --extra build --output-file requirements/run.lock
lock --extra build --extra otel --constraints requirements/run.lock --output-file requirements/otel.lock
lock --extra build --extra otel --extra dev --constraints requirements/otel.lock --output-file requirements/dev.lock
