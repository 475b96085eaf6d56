"""Imports the bundle as README.md says, and asks the Superset of SUPERSET_CONFIG_PATH for all that is in it.

superset_check.py BUNDLE WORK: the folder of the bundle and one to write to. It ends with 1 when something is wrong.
"""

import json
import logging
import os
import re
import subprocess
import sys
import urllib.parse
import zipfile
from decimal import Decimal
from pathlib import Path

import psycopg2
import yaml

bundle, work = Path(sys.argv[1]), Path(sys.argv[2])
faults = []
counts = {}


def prove(holds, words):
    if not holds:
        faults.append(words)
        print(f"  FAILED: {words}")
    return holds


def load(folder):
    return {f.stem: yaml.safe_load(f.read_text()) for f in sorted((bundle / folder).rglob("*.yaml"))}


host, port = os.environ.get("PGHOST", "localhost"), os.environ.get("PGPORT", "5432")
user, database = os.environ.get("PGUSER", "postgres"), os.environ.get("PGDATABASE", "postgres")
password = os.environ.get("PGPASSWORD")
login = urllib.parse.quote(user) + (":" + urllib.parse.quote(password, safe="") if password else "")
uri = f"postgresql+psycopg2://{login}@{host}:{port}/{urllib.parse.quote(database)}"
warehouse = psycopg2.connect(host=host, port=port, user=user, dbname=database, password=password)
warehouse.autocommit = True


def ask(sql, *values):
    with warehouse.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


# 1. The files agree with each other.
databases, datasets, charts, dashboards = (load(f) for f in ("databases", "datasets", "charts", "dashboards"))
by_uuid = {d["uuid"]: d for d in datasets.values()}
for name, dataset in datasets.items():
    columns = {c["column_name"] for c in dataset["columns"]}
    prove(dataset["database_uuid"] in {d["uuid"] for d in databases.values()}, f"{name} belongs to no database of the bundle")
    for metric in dataset["metrics"]:
        words = set(re.findall(r"[a-z_]+", metric["expression"]))
        prove(not re.search(r"\bavg\b", metric["expression"], re.I), f"{name}.{metric['metric_name']} is an average of averages")
        ready = {w for w in words if w in columns and re.search(r"_(mean|rate|pct)$", w)}
        prove(not ready, f"{name}.{metric['metric_name']} adds up a ratio: {ready}")
used = set()
for name, chart in charts.items():
    dataset = by_uuid.get(chart["dataset_uuid"])
    if not prove(dataset, f"the chart {name} has no dataset in the bundle"):
        continue
    used.add(dataset["table_name"])
    metrics = {m["metric_name"] for m in dataset["metrics"]}
    columns = {c["column_name"] for c in dataset["columns"]}
    params = chart["params"]
    asked = set(params.get("metrics") or []) | ({params["metric"]} if "metric" in params else set())
    prove(asked and asked <= metrics, f"the chart {name} has other metrics than those saved: {asked - metrics}")
    groupby = params.get("groupby") or []
    shown = set([groupby] if isinstance(groupby, str) else groupby) | ({params["x_axis"]} if "x_axis" in params else set())
    prove(shown <= columns, f"the chart {name} shows columns that are not there: {shown - columns}")
    context = json.loads(chart["query_context"])["queries"][0]
    labels = {c if isinstance(c, str) else c["label"] for c in context["columns"]}
    prove(labels == shown and set(context["metrics"]) == asked, f"query_context of the chart {name} is not what its params say")
    filters = {(f["subject"], f["operator"], f["comparator"]) for f in params["adhoc_filters"]}
    prove(filters == {(f["col"], f["op"], f["val"]) for f in context["filters"]}, f"the chart {name} filters in two ways")
    moment = dataset["table_name"] in ("data_freshness", "evaluation_backlog")
    prove(moment or (dataset["main_dttm_col"], "TEMPORAL_RANGE", "No filter") in filters, f"the chart {name} takes no time range")
prove(used == set(datasets), f"datasets without a chart: {set(datasets) - used}")

# 2. The import, by the command of README.md; a second one changes nothing and leaves the connection alone.
connection = next(iter(databases.values()))
given = f"sqlalchemy_uri: {connection['sqlalchemy_uri']}"
archive = work / "contact_quality.zip"


def pack(address):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for folder in ("databases", "datasets", "charts", "dashboards"):
            for f in sorted((bundle / folder).rglob("*.yaml")):
                text = f.read_text()
                if folder == "databases" and address:
                    assert given in text
                    text = text.replace(given, f"sqlalchemy_uri: {json.dumps(address)}")
                z.writestr(f"kore/{f.relative_to(bundle)}", text)
        z.write(bundle / "metadata.yaml", "kore/metadata.yaml")


def bring_in():
    command = [str(Path(sys.executable).parent / "superset"), "import-dashboards", "-p", str(archive), "-u", "admin"]
    told = subprocess.run(command, capture_output=True, text=True)
    with open(work / "superset.log", "a") as log:
        log.write(told.stdout + told.stderr)
    if told.returncode:
        print(told.stderr[-3000:])
        sys.exit("FAILED: the import")


pack(uri)
bring_in()

logging.disable(logging.ERROR)
from superset.app import create_app  # noqa: E402

app = create_app()
client = app.test_client()
answer = client.post("/api/v1/security/login", json={"username": "admin", "password": "admin", "provider": "db"})
headers = {"Authorization": f"Bearer {answer.json['access_token']}"}


def call(method, path, **more):
    answer = client.open(path, method=method, headers=headers, **more)
    return answer.status_code, answer.get_json(silent=True) or {}


def listed(what):
    return call("GET", f"/api/v1/{what}/?q=(page_size:100)")[1]["result"]


def state():
    found = {what: {r["id"]: r for r in listed(what)} for what in ("database", "dataset", "chart", "dashboard")}
    return {what: sorted((i, r.get("table_name") or r.get("slice_name") or r.get("dashboard_title") or r.get("database_name"))
                         for i, r in rows.items()) for what, rows in found.items()}


first = state()
for what, files in (("database", databases), ("dataset", datasets), ("chart", charts), ("dashboard", dashboards)):
    prove(len(first[what]) == len(files), f"{len(first[what])} of {len(files)} {what}s were imported: {first[what]}")
pack(None)
bring_in()
prove(state() == first, "a second import makes things anew")
status, told = call("GET", f"/api/v1/database/{first['database'][0][0]}/connection")
prove(f"@{host}:{port}/" in told["result"]["sqlalchemy_uri"], "a second import overwrites the connection")

# 3. Datasets: what Superset itself finds in the database is what the bundle says.
ids = {name: i for i, name in first["dataset"]}
time_types = {"date", "timestamp with time zone", "timestamp without time zone"}
for name, dataset in datasets.items():
    expected = dict(ask("select column_name, data_type from information_schema.columns where table_schema = 'kore' and table_name = %s", name))

    def columns_now():
        result = call("GET", f"/api/v1/dataset/{ids[name]}")[1]["result"]
        return result, {c["column_name"]: c for c in result["columns"]}

    before, columns = columns_now()
    prove(set(columns) == set(expected), f"columns of {name}: {set(columns) ^ set(expected)}")
    status, told = call("PUT", f"/api/v1/dataset/{ids[name]}/refresh")
    prove(status == 200, f"the sync of {name} says {status}: {told}")
    after, synced = columns_now()
    prove(set(synced) == set(columns), f"the sync changes the columns of {name}: {set(synced) ^ set(columns)}")
    for column, kind in expected.items():
        prove(synced[column]["is_dttm"] == (kind in time_types), f"is_dttm of {name}.{column}, {kind}, is {synced[column]['is_dttm']}")
        prove(columns[column]["is_dttm"] == synced[column]["is_dttm"], f"the sync changes is_dttm of {name}.{column}")
        prove(columns[column]["type"] == synced[column]["type"], f"type of {name}.{column}: {columns[column]['type']}, of the sync {synced[column]['type']}")
        prove(synced[column]["description"], f"{name}.{column} has no description")
        comment = ask("select col_description(('kore.' || %s)::regclass, attnum) from pg_attribute where attrelid = ('kore.' || %s)::regclass and attname = %s", name, name, column)
        prove(comment[0][0] == synced[column]["description"], f"{name}.{column} is described otherwise than in the database")
        counts["columns"] = counts.get("columns", 0) + 1
    prove(before["main_dttm_col"] == after["main_dttm_col"] == dataset["main_dttm_col"], f"main_dttm_col of {name}: {after['main_dttm_col']}")
    # The sync adds a count(*) of its own.
    prove({m["metric_name"] for m in after["metrics"]} - {"count"} == {m["metric_name"] for m in dataset["metrics"]}, f"metrics of {name}")


# 4. Each saved metric answers, and ratios are what the tables themselves say.
def query(dataset, metrics, columns=(), filters=()):
    body = {"datasource": {"id": ids[dataset], "type": "table"}, "force": True, "result_format": "json", "result_type": "full",
            "queries": [{"metrics": list(metrics), "columns": list(columns), "filters": list(filters), "row_limit": 10000}]}
    status, told = call("POST", "/api/v1/chart/data", json=body)
    result = (told.get("result") or [{}])[0]
    if status != 200 or result.get("error"):
        return None, f"{status} {result.get('error') or told}"
    return result["data"], None


values = {}
for name, dataset in datasets.items():
    for metric in dataset["metrics"]:
        data, error = query(name, [metric["metric_name"]])
        if prove(not error, f"the metric {name}.{metric['metric_name']}: {error}"):
            values[name, metric["metric_name"]] = data[0][metric["metric_name"]]
            prove(data[0][metric["metric_name"]] is not None, f"the metric {name}.{metric['metric_name']} is empty")
            counts["metrics"] = counts.get("metrics", 0) + 1
there = "from kore.contacts c where removed_at is null"
scored = f"{there} and evaluation_score is not null"
rate = f"select count(*) filter (where is_passed)::numeric / nullif(count(is_passed), 0) {scored}"
mean = f"select sum(evaluation_score) / nullif(count(*), 0) {scored}"
met = "from kore.contact_metrics f join kore.contacts c using (contact_key) where c.removed_at is null and c.evaluation_score is not null"
truth = {
    ("contact_overview", "contacts"): f"select count(*) {there}",
    ("contact_overview", "pass_rate"): rate,
    ("contact_overview", "mean_score"): mean,
    ("agent_daily_scorecard", "allocated_contacts"): f"select count(*) {there}",
    ("agent_daily_scorecard", "allocated_pass_rate"): rate,
    ("agent_daily_scorecard", "allocated_mean_score"): mean,
    ("queue_daily", "allocated_contacts"): f"select count(*) {there}",
    ("queue_daily", "allocated_pass_rate"): rate,
    ("queue_daily", "allocated_mean_score"): mean,
    ("sentiment_daily", "contacts"): f"select count(*) {there}",
    ("sentiment_daily", "mean_score"): mean,
    ("metric_compliance_daily", "compliance"): f"select count(*) filter (where qualification = 'YES')::numeric / nullif(count(*) filter (where qualification in ('YES', 'NO')), 0) {met}",
    ("evaluation_backlog", "contacts"): f"select count(*) {there} and evaluation_score is null",
}
for key, sql in truth.items():
    expected, shown = ask(sql)[0][0], values.get(key)
    prove(None not in (shown, expected) and abs(Decimal(str(shown)) - Decimal(expected)) < Decimal("0.000001"), f"{'.'.join(key)} is {shown}; the tables say {expected}")
    counts["totals"] = counts.get("totals", 0) + 1

# 5. Each chart answers, as saved and under the dashboard's filters.
streams = [r[0] for r in ask("select distinct stream from kore.contacts where removed_at is null order by 1")]
first_day, last_day = ask(f"select min(started_on), max(started_on) {there}")[0]
for i, title in first["chart"]:
    status, told = call("GET", f"/api/v1/chart/{i}/data/")
    result = (told.get("result") or [{}])[0]
    prove(status == 200 and not result.get("error") and result.get("rowcount", 0) > 0, f"the chart {title}: {status} {result.get('error') or told.get('message')}, {result.get('rowcount')} rows")
    chart = call("GET", f"/api/v1/chart/{i}")[1]["result"]
    context = json.loads(chart["query_context"])
    column = next((f["col"] for q in context["queries"] for f in q["filters"] if f["op"] == "TEMPORAL_RANGE"), None)
    # As the dashboard asks: its time range in place of "No filter", and the stream.
    for q in context["queries"]:
        for f in q["filters"]:
            if f["op"] == "TEMPORAL_RANGE":
                f["val"] = f"{first_day} : {last_day}"
        q["filters"].append({"col": "stream", "op": "IN", "val": streams[:1]})
    status, told = call("POST", "/api/v1/chart/data", json={**context, "force": True})
    result = (told.get("result") or [{}])[0]
    sql = result.get("query") or ""
    fits = status == 200 and not result.get("error") and result.get("rowcount", 0) > 0 and "stream IN" in sql
    prove(fits, f"the chart {title} under filters: {status} {result.get('error') or told.get('message')}, {result.get('rowcount')} rows\n{sql}")
    prove(column is None or f"{column} >= " in sql, f"the time range does not reach the chart {title}\n{sql}")
    counts["charts"] = counts.get("charts", 0) + 1

# 6. The dashboard and its filters.
status, told = call("GET", "/api/v1/dashboard/contact-quality")
dashboard = told["result"]
position, metadata = json.loads(dashboard["position_json"]), json.loads(dashboard["json_metadata"])
placed = {p["meta"]["chartId"] for p in position.values() if isinstance(p, dict) and p.get("type") == "CHART"}
prove(placed == {i for i, _ in first["chart"]}, f"charts on the dashboard: {placed}")
names = {i: title for i, title in first["chart"]}
# What tells of this moment takes no time range.
timeless = {c["slice_name"] for c in charts.values() if not any(f["operator"] == "TEMPORAL_RANGE" for f in c["params"]["adhoc_filters"])}
for f in metadata["native_filter_configuration"]:
    reached = placed - set(f["scope"]["excluded"])
    expected = {i for i in placed if names[i] not in timeless} if f["filterType"] == "filter_time" else placed
    prove(reached == expected, f"the filter {f['name']} reaches {sorted(names[i] for i in reached)}")
    if f["filterType"] == "filter_select":
        target = f["targets"][0]
        prove(target.get("datasetId") == ids["data_freshness"], f"the filter {f['name']} has the target {target}")
        data, error = query("data_freshness", [], [target["column"]["name"]])
        prove(not error and {r["stream"] for r in data} >= set(streams), f"values of the filter {f['name']}: {error or data}")
    counts["filters"] = counts.get("filters", 0) + 1

said = ", ".join(f"{counts.get(k, 0)} {k}" for k in ("columns", "metrics", "totals", "charts", "filters"))
print(f"superset: {len(datasets)} datasets, {said}: {'all as they should be' if not faults else f'{len(faults)} FAULTS'}")
sys.exit(bool(faults))
