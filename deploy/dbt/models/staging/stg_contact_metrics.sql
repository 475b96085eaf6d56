select f.contact_key, c.stream, c.started_on, f.ordinal, f.metric_key, f.weight, f.negative_weight, f.qualification,
       f.is_fatal_error, f.auditor_response
from {{ source('kore', 'contact_metrics') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
