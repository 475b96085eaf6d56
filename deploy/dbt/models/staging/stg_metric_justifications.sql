select f.contact_key, c.stream, c.started_on, f.metric_ordinal, f.kind, f.ordinal, f.justification,
       f.source_system_value, f.agent_mentioned_value, f.agent_entity
from {{ source('kore', 'metric_justifications') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
