select f.contact_key, c.stream, c.started_on, f.intent_ordinal, f.ordinal, f.keyword
from {{ source('kore', 'generated_intent_keywords') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
