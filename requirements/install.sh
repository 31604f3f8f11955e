#!/bin/sh
# Installs a lock file and this project into .venv, with one line of progress. Usage: requirements/install.sh run|otel|dev
set -eu
cd "$(dirname "$0")/.."
lock=requirements/$1.lock
log=.venv/install.log
total=$(grep -c '^[A-Za-z0-9]' "$lock")
pip="env PYTHONUNBUFFERED=1 .venv/bin/python -m pip --disable-pip-version-check --no-input install"
ticker=""

# Not awk: mawk, Debian's, reads a pipe in blocks, and would show each package long after it came.
progress() {
    number=0
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        case $line in
        Collecting\ * | Requirement\ already\ satisfied:* | Ignoring\ *)
            number=$((number + 1))
            name=${line#Collecting }
            name=${name#Requirement already satisfied: }
            name=${name#Ignoring }
            echo "$number/$total ${name%%[=<>(:; ]*}" >"$log.now"
            ;;
        *Installing\ collected\ packages*) echo "unpacking" >"$log.now" ;;
        esac
    done
}

# Something moves while pip says nothing: large downloads, and half a minute of unpacking.
tick() {
    seconds=0
    while [ -f "$log.now" ]; do
        printf '\r\033[K  %s ... %d s' "$(cat "$log.now" 2>/dev/null || true)" "$seconds"
        sleep 1
        seconds=$((seconds + 1))
    done
}

echo "Installing $lock into .venv (see $log) ..."
: >"$log"
if [ -t 1 ]; then
    echo "0/$total" >"$log.now"
    tick &
    ticker=$!
    trap 'rm -f "$log.now"' EXIT
fi
{
    # Hashes cannot be required of the project itself, hence two steps; its build backend is in the lock.
    if $pip --require-hashes --no-deps --progress-bar off --requirement "$lock" 2>&1 &&
        $pip --no-deps --no-build-isolation --editable . 2>&1; then echo "install: done"; else echo "install: failed"; fi
} | progress
rm -f "$log.now"
if [ -n "$ticker" ]; then
    wait "$ticker" || true
    printf '\r\033[K'
fi
if [ "$(tail -n 1 "$log")" != "install: done" ]; then
    tail -n 10 "$log" >&2
    echo "The installation failed; the whole log is $log." >&2
    exit 1
fi
echo "Installed."
