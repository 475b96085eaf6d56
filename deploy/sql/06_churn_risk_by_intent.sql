-- With which intents do customers threaten to leave?
--
-- How to read it: a row is an intent that the vendor's model found, in lower case, riskiest first; the first row is all
-- contacts, to compare with, and "(no intent)" are contacts in which none was found. churn_risk_pct is
-- churn_risk_contacts of reported_contacts: contacts of which it is told whether there was a risk of churn. A contact
-- with two intents is in both rows, so they do not add up to the first. Where an intent has no words of its own, its
-- topic is taken.
--
-- What to change: the period, stream ('*' is all streams), and least_contacts: intents with fewer reported contacts are
-- left out, since one contact would be a rate.
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream, 3 as least_contacts
    from kore.contacts
    where removed_at is null
),
contact_intents as (  -- once, however often the contact names the intent
    select distinct 2 as place, coalesce(lower(trim(g.intent)), lower(trim(g.topic)), '(no intent)') as intent,
           c.contact_key, c.is_churn_risk
    from parameters p
    join kore.contacts c               on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    left join kore.generated_intents g on g.contact_key = c.contact_key
    where c.removed_at is null
    union all
    select 1, '(all contacts)', c.contact_key, c.is_churn_risk
    from parameters p
    join kore.contacts c               on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    where c.removed_at is null
)
select intent,
       count(*)                                                                             as contacts,
       count(is_churn_risk)                                                                 as reported_contacts,
       count(*) filter (where is_churn_risk)                                                as churn_risk_contacts,
       round(100.0 * count(*) filter (where is_churn_risk) / nullif(count(is_churn_risk), 0), 2) as churn_risk_pct
from contact_intents
group by place, intent
having place = 1 or count(is_churn_risk) >= (select least_contacts from parameters)
order by place, churn_risk_pct desc nulls last, churn_risk_contacts desc, intent;
