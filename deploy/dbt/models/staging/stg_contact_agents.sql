select f.contact_key, c.stream, c.started_on, f.ordinal, f.agent_key, f.agent_started_at, f.crutch_word_score,
       f.empathy_score, f.is_primary
from {{ source('kore', 'contact_agents') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
