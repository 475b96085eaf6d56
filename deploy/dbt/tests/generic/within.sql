{#- Fails for each row whose column is below the lowest or above the highest value. NULL passes. -#}
{% test within(model, column_name, lowest, highest) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} not between {{ lowest }} and {{ highest }}
{% endtest %}
