select f.contact_key, c.stream, c.started_on, f.ordinal, f.queue_key, f.is_primary
from {{ source('kore', 'contact_queues') }} f
join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
