select f.contact_key, c.stream, c.started_on, f.metric_ordinal, f.kind, f.justification_ordinal, f.ordinal,
       f.message_id, f.message_at
from {{ source('kore', 'justification_messages') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
