#!/bin/sh
# Imports deploy/superset into a Superset made for it, and checks there (superset_check.py) that every dataset, metric and
# chart answers. The warehouse is that of PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD: any login of kore_reader that
# sees contacts. All else is in target/bi. The first run installs Superset, which takes minutes and a package index.
set -eu
cd "$(dirname "$0")/../.."
work=$PWD/target/bi/superset
venv=${SUPERSET_VENV:-$PWD/target/bi/superset-venv}

if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "NOT RUN: Python 3.10 or newer with venv and pip is not there"
    exit 0
fi
mkdir -p "$work"
if ! [ -x "$venv/bin/superset" ]; then
    python3 -m venv "$venv"
    if ! "$venv/bin/pip" install --quiet apache-superset==6.1.0 flask-caching==2.3.1 rich cachetools psycopg2-binary \
        >"$work/pip.log" 2>&1; then
        tail -n 3 "$work/pip.log" >&2
        echo "NOT RUN: Superset cannot be installed ($work/pip.log)"
        exit 0
    fi
fi

# Superset's own database is made once, and copied for each run.
[ -s "$work/secret" ] || (umask 077 && head -c 42 /dev/urandom | base64 >"$work/secret")
cat >"$work/superset_config.py" <<SETTINGS
SECRET_KEY = open("$work/secret").read().strip()
SQLALCHEMY_DATABASE_URI = "sqlite:///$work/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
CONTENT_SECURITY_POLICY_WARNING = False
SETTINGS
export SUPERSET_CONFIG_PATH="$work/superset_config.py" SUPERSET_HOME="$work" FLASK_APP=superset PYTHONWARNINGS=ignore
superset() { "$venv/bin/superset" "$@" >>"$work/superset.log" 2>&1 || { tail -n 20 "$work/superset.log" >&2; exit 1; }; }
: >"$work/superset.log"
if ! [ -s "$work/empty.db" ]; then
    rm -f "$work/superset.db"
    superset db upgrade
    superset fab create-admin --username admin --firstname Test --lastname Test --email test@localhost --password admin
    superset init
    mv "$work/superset.db" "$work/empty.db"
fi
cp "$work/empty.db" "$work/superset.db"

exec "$venv/bin/python" tests/bi/superset_check.py deploy/superset "$work"
