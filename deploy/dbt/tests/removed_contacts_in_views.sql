-- The overview holds the contacts that the vendor still has, all of them and no others.
select c.contact_key, c.removed_at, o.contact_key is not null as is_shown
from {{ source('kore', 'contacts') }} c
full join {{ source('kore', 'contact_overview') }} o on o.contact_key = c.contact_key
where (c.removed_at is null) is distinct from (o.contact_key is not null)
