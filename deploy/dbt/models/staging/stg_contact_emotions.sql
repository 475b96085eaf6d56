select f.contact_key, c.stream, c.started_on, f.speaker, f.ordinal, f.emotion_key, f.duration_ms, f.proportion_pct
from {{ source('kore', 'contact_emotions') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
