{#- Fails for each row whose column is below 0 or above the other column: a part cannot exceed its whole. -#}
{% test at_most(model, column_name, whole) %}
select *
from {{ model }}
where {{ column_name }} < 0 or {{ column_name }} > {{ whole }}
{% endtest %}
