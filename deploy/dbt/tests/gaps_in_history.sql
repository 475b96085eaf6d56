-- Stretches whose contacts are not proved to be here. A warning: the rest may be charted, and a first backfill takes its time.
{{ config(severity='warn') }}
select stream, status, from_at, to_at
from {{ source('kore', 'data_completeness') }}
where is_configured and status <> 'complete'
