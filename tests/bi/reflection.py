"""What SQLAlchemy, and so each tool upon it, finds in the warehouse: tables and views with comments, keys to join by, times.

reflection.py: connects as PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD say; any login of kore_reader."""

import sys

from sqlalchemy import MetaData, create_engine, inspect, text
from sqlalchemy.types import Date, DateTime

engine = create_engine("postgresql+psycopg2://")
inspector = inspect(engine)
faults = []

tables = inspector.get_table_names(schema="kore")
views = inspector.get_view_names(schema="kore")
for name in tables + views:
    if not inspector.get_table_comment(name, schema="kore")["text"]:
        faults.append(f"{name}: no comment")
    for column in inspector.get_columns(name, schema="kore"):
        if not column.get("comment"):
            faults.append(f"{name}.{column['name']}: no comment")
        is_time = isinstance(column["type"], (Date, DateTime))
        is_named_so = column["name"].endswith(("_at", "_on", "_from", "_through", "_local")) or column["name"] in ("date", "valid_to")
        if is_time != is_named_so:
            faults.append(f"{name}.{column['name']}: {column['type']} under a name that says otherwise")

metadata = MetaData(schema="kore")
metadata.reflect(engine)
joins = 0
for table in metadata.tables.values():
    if not table.primary_key.columns:
        faults.append(f"{table.name}: no primary key")
    joins += len(table.foreign_key_constraints)

# Whether a tool that joins by these keys gets rows.
joined = 0
with engine.connect() as connection:
    for table in metadata.tables.values():
        for key in table.foreign_key_constraints:
            other = key.referred_table
            on = " and ".join(f"a.{e.parent.name} = b.{e.column.name}" for e in key.elements)
            sql = f"select exists (select 1 from kore.{table.name} a join kore.{other.name} b on {on})"
            any_row = connection.execute(text(f"select exists (select 1 from kore.{table.name})")).scalar()
            if connection.execute(text(sql)).scalar():
                joined += 1
            elif any_row and not any(e.parent.nullable for e in key.elements):
                faults.append(f"{table.name} -> {other.name}: no row by {on}")

for fault in faults:
    print(fault, file=sys.stderr)
print(f"SQLAlchemy: {len(tables)} tables, {len(views)} views, {joins} keys found, {joined} of them with rows to join, {len(faults)} faults")
sys.exit(1 if faults else 0)
