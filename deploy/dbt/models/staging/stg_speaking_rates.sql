select f.contact_key, c.stream, c.started_on, f.ordinal, f.speaker, f.source_id, f.message_id, f.message_at,
       f.start_offset_ms, f.word_count, f.time_taken_seconds, f.words_per_minute, f.score
from {{ source('kore', 'speaking_rates') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
