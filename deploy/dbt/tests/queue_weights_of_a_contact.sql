-- Over the queues of a contact the weights sum to 1 exactly; a contact without one has a row, too.
select c.contact_key, sum(w.allocation_weight) as weights
from {{ ref('stg_contacts') }} c
left join {{ source('kore', 'contact_queue_allocations') }} w on w.contact_key = c.contact_key
group by c.contact_key
having sum(w.allocation_weight) is distinct from 1 or bool_or(w.allocation_weight <= 0)
union all
select w.contact_key, w.allocation_weight
from {{ source('kore', 'contact_queue_allocations') }} w
where not exists (select from {{ ref('stg_contacts') }} c where c.contact_key = w.contact_key)
