-- A contact without an evaluation score neither passes nor fails.
select contact_key
from {{ ref('stg_contacts') }}
where evaluation_score is null and is_passed is not null
