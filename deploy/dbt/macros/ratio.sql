{#- scale * numerator / denominator, rounded to 0.01; NULL when the denominator is 0 or NULL. -#}
{% macro ratio(numerator, denominator, scale=1) -%}
round({{ scale }}::numeric * {{ numerator }} / nullif({{ denominator }}, 0), 2)
{%- endmacro %}
