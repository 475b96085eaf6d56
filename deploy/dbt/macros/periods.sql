{#- First day of the week (Monday) or month of a date. The cast keeps the session's time zone out of it. -#}
{% macro first_day(unit, date) -%}
date_trunc('{{ unit }}', {{ date }}::timestamp)::date
{%- endmacro %}

{#- Which weeks or months of a stream are over and complete: every day from the stream's first on is proved complete. -#}
{% macro complete_periods(unit) -%}
select stream, {{ first_day(unit, 'started_on') }} as period_start,
       bool_and(is_complete)
           and max(started_on) = ({{ first_day(unit, 'min(started_on)') }} + interval '1 {{ unit }}' - interval '1 day')::date as is_complete
from {{ source('kore', 'daily_completeness') }}
group by stream, {{ first_day(unit, 'started_on') }}
{%- endmacro %}
