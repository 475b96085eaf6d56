#!/bin/sh
# Runs deploy/dbt as README.md there says: build, source freshness and docs, in the warehouse of PGHOST, PGPORT, PGUSER,
# PGDATABASE and PGPASSWORD, into the schema DBT_SCHEMA (default kore_marts), which the login may write to. It also compares
# the descriptions of the package with the comments of the database. All else is in target/bi. The first run installs dbt,
# which takes a minute and a package index. STALE=allowed: data that is too old is told, and is no failure.
set -eu
cd "$(dirname "$0")/../.."
work=$PWD/target/bi/dbt
venv=${DBT_VENV:-$PWD/target/bi/dbt-venv}
package=$PWD/deploy/dbt

if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "NOT RUN: Python 3.10 or newer with venv and pip is not there"
    exit 0
fi
mkdir -p "$work/profiles"
if ! [ -x "$venv/bin/dbt" ]; then
    python3 -m venv "$venv"
    if ! "$venv/bin/pip" install --quiet dbt-core==1.11.16 dbt-postgres==1.11.0 >"$work/pip.log" 2>&1; then
        tail -n 3 "$work/pip.log" >&2
        echo "NOT RUN: dbt cannot be installed ($work/pip.log)"
        exit 0
    fi
fi
cp "$package/profiles.example.yml" "$work/profiles/profiles.yml"
export DBT_PROFILES_DIR="$work/profiles" DO_NOT_TRACK=1 DBT_USE_COLORS=false

# Each command writes what it found to a folder of its own.
dbt() {
    name=$1
    shift
    rm -rf "${work:?}/$name"
    "$venv/bin/dbt" "$@" --project-dir "$package" --target-path "$work/$name" --log-path "$work/$name" >"$work/$name.log" 2>&1 ||
        { eval "failed_$name=1"; sed 's/^/  /' "$work/$name.log" | grep -vE ' (PASS|START|OK created) ' | tail -n 40; }
}
failed_build='' failed_freshness='' failed_docs=''
dbt build build
dbt freshness source freshness
dbt docs docs generate
failed="$failed_build$failed_docs"
[ "${STALE:-}" = allowed ] || failed="$failed$failed_freshness"

"$venv/bin/python" - "$work" "$failed" <<'PYTHON'
import json, os, re, sys
from collections import Counter
from pathlib import Path

import psycopg2

work, faults = Path(sys.argv[1]), ["a command failed"] if sys.argv[2] else []
read = lambda path: json.loads((work / path).read_text()) if (work / path).exists() else {}
results = read("build/run_results.json").get("results", [])
kinds = Counter((r["unique_id"].split(".")[0], r["status"]) for r in results)
models = kinds["model", "success"]
tests, units = kinds["test", "pass"], kinds["unit_test", "pass"]
other = {f"{kind} {status}": n for (kind, status), n in kinds.items() if status not in ("success", "pass")}
fresh = Counter(r["status"] for r in read("freshness/sources.json").get("results", []))
warnings = sum(len(re.findall(r"\[WARNING\]|Deprecat", (work / f"{n}.log").read_text())) for n in ("build", "freshness", "docs"))
if other or warnings or not results:
    faults.append(f"of the build: {other or results and 'warnings' or 'nothing'}")

# Descriptions: those of the sources are the comments of the database; those of the models are complete, and a column that
# a staging model passes on means what it does in its table.
manifest = read("docs/manifest.json") or {"sources": {}, "nodes": {}}
connection = psycopg2.connect(host=os.environ.get("PGHOST", "localhost"), port=os.environ.get("PGPORT", "5432"), user=os.environ.get("PGUSER", "kore_dbt"),
                              dbname=os.environ.get("PGDATABASE", "warehouse"), password=os.environ.get("PGPASSWORD"))
cursor = connection.cursor()
cursor.execute("""select c.relname, a.attname, coalesce(col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')), replace(replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'), 'timestamp without time zone', 'timestamp')
                  from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                  where c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition""")
held = {(t, c): (words, kind) for t, c, words, kind in cursor.fetchall()}
cursor.execute("""select relname, obj_description(oid, 'pg_class') from pg_class
                  where relnamespace = 'kore'::regnamespace and relkind in ('r', 'p', 'v', 'm') and not relispartition""")
tables = dict(cursor.fetchall())
sources = {s["name"]: s for s in manifest["sources"].values() if s["source_name"] == "kore"}
told = {(t, c): (d["description"], d["data_type"]) for t, s in sources.items() for c, d in s["columns"].items()}
differ = [f"{t}.{c}" for t, c in sorted(set(held) | set(told)) if held.get((t, c)) != told.get((t, c))]
differ += [t for t in sorted(set(tables) | set(sources)) if tables.get(t) != sources.get(t, {}).get("description")]
if differ:
    faults.append("models/sources.yml is not what the database says of " + ", ".join(differ))
described = 0
for node in manifest["nodes"].values():
    if node["resource_type"] != "model":
        continue
    catalog = read("docs/catalog.json").get("nodes", {}).get(node["unique_id"], {}).get("columns", {})
    bare = sorted(set(catalog) ^ {c for c, d in node["columns"].items() if d["description"]})
    if bare or not node["description"]:
        faults.append(f"columns of {node['name']} without a description, or descriptions without a column: {bare}")
    described += len(node["columns"])
    if node["name"].startswith("stg_"):
        of = sources.get(node["name"][4:], {"columns": {}})["columns"]
        other_words = [c for c, d in node["columns"].items() if c in of and d["description"] != of[c]["description"]]
        if other_words:
            faults.append(f"{node['name']} describes {other_words} otherwise than kore.{node['name'][4:]}")
for fault in faults:
    print("  FAILED:", fault)
print(f"dbt: {models} models, {tests} data tests and {units} unit tests passed, {sum(other.values())} failed or warned, {warnings} warnings; "
      f"freshness {', '.join(f'{n} {s}' for s, n in sorted(fresh.items())) or 'not known'}; "
      f"{len(told)} columns of sources and {described} of models described: {'FAULTS' if faults else 'all as it should be'}")
sys.exit(bool(faults))
PYTHON
