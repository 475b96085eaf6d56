select f.contact_key, c.stream, c.started_on, f.ordinal, f.intent, f.topic, f.sentiment, f.sentiment_score, f.emotions
from {{ source('kore', 'generated_intents') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
