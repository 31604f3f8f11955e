#!/bin/sh
# Prints the Python of PATH to use: 3.11 or newer, and of several one that was built with profile-guided optimisation, on which
# the gateway takes about a fifth less CPU. With a name: says what that one is, if it is not.
optimised='
import sys, sysconfig
arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
# Debian and Ubuntu build theirs so without saying it there.
of_debian = sys.base_prefix == "/usr" and "-linux-gnu-gcc" in arguments
sys.exit(not ("--enable-optimizations" in arguments or of_debian))'

if [ $# -gt 0 ]; then
    "$1" -c "$optimised" || echo "($1 was built without profile-guided optimisation: one of Debian, python.org or uv would take" \
        "about a fifth less CPU. Choose it with: make up PYTHON=python3.12)"
    exit
fi

found=
for python in python3 python3.14 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$python" -c "$optimised"; then
        echo "$python"
        exit
    fi
    found=${found:-$python}
done
echo "${found:-python3}"
