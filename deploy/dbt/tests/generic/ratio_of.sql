{#- Fails for each row whose column is not scale * numerator / denominator, rounded to 0.01, and NULL over a denominator of 0. -#}
{% test ratio_of(model, column_name, numerator, denominator, scale=1) %}
select {{ column_name }}, {{ numerator }}, {{ denominator }}
from {{ model }}
where {{ column_name }} is distinct from round({{ scale }}::numeric * {{ numerator }} / nullif({{ denominator }}, 0), 2)
{% endtest %}
