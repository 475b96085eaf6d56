select f.contact_key, c.stream, c.started_on, f.ordinal, f.parent_ordinal, f.topic_key, f.level, f.confidence_score,
       f.sentiment_score, f.is_resolved
from {{ source('kore', 'contact_topics') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
