#!/usr/bin/env bash
# Create the development environment: a virtual environment holding exactly what requirements-dev.lock names.
# Usage: dev/setup.sh VENV. Safe to run again; a half-made environment is made anew.
set -euo pipefail
venv=$1

python=${WAYPOST_PYTHON:-python3}
command -v "$python" >/dev/null || { echo "setup: no $python on the PATH; Waypost needs Python 3.11 or newer" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "setup: $("$python" --version) is too old; Waypost needs 3.11 or newer (set WAYPOST_PYTHON)" >&2; exit 1; }

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian splits venv out of python3.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing python3-venv"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
        echo "setup: $python has no ensurepip; install your system's python3-venv package" >&2
        exit 1
    fi
fi

[ -x "$venv/bin/pip" ] || rm -rf "$venv"
[ -d "$venv" ] || "$python" -m venv "$venv"
echo "setup: installing the locked dependencies into $venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
