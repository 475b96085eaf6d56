-- The practice that koresync is measured against: pages go as jsonb into a staging table, and SQL spreads them, a
-- statement a table, dimensions first. It accepts what the vendor is known to send: three spellings of a key, and
-- several words for "not reported".

create schema staging;
create unlogged table staging.pages (page jsonb not null);
-- Both are read once or a few times and dropped: compressing them costs more than it saves.
create unlogged table staging.records (
    contact_key uuid not null, conversation_id text not null, started_at timestamptz not null, record jsonb not null);
alter table staging.pages alter column page set storage external;
alter table staging.records alter column record set storage external;

create function staging.said(text) returns text language sql immutable parallel safe
    return case when btrim($1) in ('', '-', 'NA') then null else $1 end;

-- A list; what stands alone is a list of one.
create function staging.list(jsonb) returns jsonb language sql immutable parallel safe
    return case when jsonb_typeof($1) = 'array' then $1
                when $1 is null or $1 in ('null', '""', '"-"', '"NA"') then '[]'
                else jsonb_build_array($1) end;

-- spread: what stands below is run when every page is there

insert into staging.records (contact_key, conversation_id, started_at, record)
select distinct on (id)
       (lpad(to_hex((extract(epoch from started_at) * 1000)::bigint), 12, '0') || left(md5('bench' || id), 20))::uuid as contact_key,
       id as conversation_id, started_at, record
from (
    select coalesce(record->>'Conversation ID', record->>'conversationId', record->>'conversation_id') as id,
           coalesce(record->>'Conversation Start Time', record->>'conversationStartTime',
                    record->>'conversation_start_time')::timestamptz as started_at,
           record
    from staging.pages, jsonb_array_elements(page->'results') as record
) as named
order by id;

create unlogged table staging.contact_agents as
select r.contact_key, r.started_at, a.ordinal,
       staging.said(coalesce(id1, id2, id3)) as agent_id,
       staging.said(coalesce(name1, name2, name3)) as agent_name,
       staging.said(coalesce(email1, email2, email3)) as agent_email,
       staging.said(coalesce(start1, start2, start3))::timestamptz as agent_started_at,
       staging.said(coalesce(crutch1, crutch2, crutch3))::numeric as crutch_word_score,
       staging.said(coalesce(empathy1, empathy2, empathy3))::numeric as empathy_score
from staging.records r,
     rows from (jsonb_to_recordset(staging.list(r.record->'Agents')) as (
         "agentId" text, "Agent ID" text, agent_id text, "Agent Name" text, "agentName" text, agent_name text,
         "Agent Email" text, "agentEmail" text, agent_email text,
         "Agent Start Time" text, "agentStartTime" text, agent_start_time text,
         "Crutch Word Score" text, "crutchWordScore" text, crutch_word_score text,
         "Empathy Score" text, "empathyScore" text, empathy_score text)) with ordinality
     as a (id1, id2, id3, name1, name2, name3, email1, email2, email3, start1, start2, start3,
           crutch1, crutch2, crutch3, empathy1, empathy2, empathy3, ordinal);

create unlogged table staging.contact_queues as
select r.contact_key, r.started_at, q.ordinal,
       staging.said(coalesce(id1, id2, id3)) as queue_id, staging.said(coalesce(name1, name2, name3)) as queue_name
from staging.records r,
     rows from (jsonb_to_recordset(staging.list(r.record->'Queues')) as (
         "Queue ID" text, "queueId" text, queue_id text, "Queue Name" text, "queueName" text, queue_name text))
     with ordinality as q (id1, id2, id3, name1, name2, name3, ordinal);

create unlogged table staging.contact_metrics as
select r.contact_key, m.ordinal,
       staging.said(coalesce(id1, id2, id3)) as metric_id, staging.said(coalesce(name1, name2, name3)) as metric_name,
       staging.said(coalesce(weight1, weight2, weight3))::numeric as weight,
       staging.said(coalesce(negative1, negative2, negative3))::numeric as negative_weight,
       case when qualification = 'NA' then qualification else staging.said(qualification) end as qualification,
       staging.said(is_fatal_error)::boolean as is_fatal_error,
       staging.said(coalesce(response1, response2, response3)) as auditor_response,
       m.justification, m.trigger_justification
from staging.records r,
     rows from (jsonb_to_recordset(staging.list(r.record->'Metrics')) as (
         "Metric ID" text, "metricId" text, metric_id text, "Metric Name" text, "metricName" text, metric_name text,
         "Metric Weight" text, "metricWeight" text, metric_weight text,
         "Metric Negative Weight" text, "metricNegativeWeight" text, metric_negative_weight text,
         "Qualification" text, "isFatalError" text,
         "Auditor Response" text, "auditorResponse" text, auditor_response text,
         justification jsonb, "triggerJustification" jsonb)) with ordinality
     as m (id1, id2, id3, name1, name2, name3, weight1, weight2, weight3, negative1, negative2, negative3,
           qualification, is_fatal_error, response1, response2, response3, justification, trigger_justification, ordinal);

create unlogged table staging.metric_justifications as
select m.contact_key, m.ordinal as metric_ordinal, k.kind, j.ordinal, j.justification, j.source_system_value,
       j.agent_mentioned_value, j.agent_entity, j.message_id, j.message_at
from staging.contact_metrics m
cross join lateral (values ('justification', m.justification), ('trigger', m.trigger_justification)) as k (kind, entries),
     rows from (jsonb_to_recordset(staging.list(k.entries)) as (
         justification text, "sourceSystemValue" text, "agentMentionedValue" text, "AgentEntity" text,
         message_id jsonb, "timestamp" jsonb)) with ordinality
     as j (justification, source_system_value, agent_mentioned_value, agent_entity, message_id, message_at, ordinal);

create unlogged table staging.contact_emotions as
select r.contact_key, 'contact' as speaker, e.ordinal, lower(btrim(staging.said(e.label))) as emotion,
       null::numeric as duration_ms, null::numeric as proportion_pct
from staging.records r, jsonb_array_elements_text(staging.list(r.record->'Emotions')) with ordinality as e (label, ordinal)
union all
select r.contact_key, s.speaker, e.ordinal, lower(btrim(staging.said(e.label))), staging.said(e.duration)::numeric,
       staging.said(e.proportion)::numeric
from staging.records r
cross join lateral (values
    ('customer', coalesce(r.record->'Customer emotions', r.record->'customerEmotions', r.record->'customer_emotions')),
    ('agent', coalesce(r.record->'Agent emotions', r.record->'agentEmotions', r.record->'agent_emotions'))
) as s (speaker, emotions),
     rows from (jsonb_to_recordset(staging.list(s.emotions)) as (emotion text, duration text, proportion text))
     with ordinality as e (label, duration, proportion, ordinal);

create unlogged table staging.generated_intents as
select r.contact_key, i.ordinal, staging.said(i.intent) as intent, staging.said(i.topic) as topic,
       staging.said(i.sentiment) as sentiment, staging.said(coalesce(i.score1, i.score2, i.score3))::numeric as sentiment_score,
       i.emotions, i.keywords
from staging.records r,
     rows from (jsonb_to_recordset(staging.list(coalesce(r.record->'Generated Intents', r.record->'generatedIntents',
             r.record->'generated_intents', r.record->'Intents', r.record->'Topics'))) as (
         intent text, topic text, "Sentiment" text, "Sentiment Score" text, "sentimentScore" text, sentiment_score text,
         emotions jsonb, keywords jsonb)) with ordinality
     as i (intent, topic, sentiment, score1, score2, score3, emotions, keywords, ordinal);

create unlogged table staging.contact_topics as
with nodes as (
    select r.contact_key, a.place as place1, 0::bigint as place2, 0::bigint as place3, 1 as level, a.topic->>'topic_name' as l1_name,
           null::text as l2_name, null::text as l3_name, a.topic
    from staging.records r,
         jsonb_array_elements(staging.list(r.record->'Configured_Intents'->'topics')) with ordinality as a (topic, place)
), seconds as (
    select n.contact_key, n.place1, b.place as place2, 0::bigint as place3, 2 as level, n.l1_name, b.topic->>'topic_name' as l2_name,
           null::text as l3_name, b.topic
    from nodes n, jsonb_array_elements(staging.list(n.topic->'L2_topics')) with ordinality as b (topic, place)
), thirds as (
    select n.contact_key, n.place1, n.place2, c.place as place3, 3 as level, n.l1_name, n.l2_name,
           c.topic->>'topic_name' as l3_name, c.topic
    from seconds n, jsonb_array_elements(staging.list(n.topic->'L3_topics')) with ordinality as c (topic, place)
), numbered as (
    select *, row_number() over (partition by contact_key order by place1, place2, place3) as ordinal
    from (select * from nodes union all select * from seconds union all select * from thirds) as every_node
)
select contact_key, ordinal, level, l1_name, l2_name, l3_name,
       case level when 2 then min(ordinal) over (partition by contact_key, place1)
                  when 3 then min(ordinal) over (partition by contact_key, place1, place2) end as parent_ordinal,
       staging.said(topic->>'confidence_score')::numeric as confidence_score,
       staging.said(topic->>'sentiment')::numeric as sentiment_score,
       staging.said(topic->>'resolution')::numeric <> 0 as is_resolved
from numbered;

create unlogged table staging.contacts as
select r.contact_key, r.conversation_id, r.started_at, x.*,
       staging.said(coalesce("Evaluation Form Name", "evaluationFormName", evaluation_form_name)) as form_name,
       staging.said(coalesce("Evaluation Form Scoring Type", "evaluationFormScoringType", evaluation_form_scoring_type)) as scoring_type,
       coalesce("Sentiment Pattern", "sentimentPattern", sentiment_pattern) as pattern,
       coalesce("Sentiment Ratio", "sentimentRatio", sentiment_ratio) as ratio,
       nullif(jsonb_strip_nulls(jsonb_build_object('agentRecordings', r.record->'agentRecordings',
              'is_direction_defaulted', r.record->'is_direction_defaulted')), '{}') as extra
from staging.records r,
     jsonb_to_record(r.record) as x (
         "customConversationId" text, src text, "Channel" text, "contactDirection" text,
         "Conversation End Time" text, "conversationEndTime" text, conversation_end_time text,
         "Duration" text, "Language" text, duration_status text, "Sentiment" text,
         "Sentiment Score" text, "sentimentScore" text, sentiment_score text,
         "Sentiment Pattern" jsonb, "sentimentPattern" jsonb, sentiment_pattern jsonb,
         "Sentiment Ratio" jsonb, "sentimentRatio" jsonb, sentiment_ratio jsonb,
         "Kore Evaluation Score" text, "koreEvaluationScore" text, kore_evaluation_score text,
         "Evaluation Form Name" text, "evaluationFormName" text, evaluation_form_name text,
         "Evaluation Form Scoring Type" text, "evaluationFormScoringType" text, evaluation_form_scoring_type text,
         "Pass Score" text, "passScore" text, pass_score text, "IsPassed" text,
         "Fatal Errors" text, "fatalErrors" text, fatal_errors text,
         "IsChurnRiskObserved" text, "IsEscalationObserved" text,
         "Taxonomy Resolution" text, "taxonomyResolution" text, taxonomy_resolution text,
         "Customer talk ratio percentage" text, "customerTalkRatioPercentage" text, customer_talk_ratio_percentage text,
         "Agent talk ratio percentage" text, "agentTalkRatioPercentage" text, agent_talk_ratio_percentage text,
         "Silence percentage" text, "silencePercentage" text, silence_percentage text,
         "Configured_Intents" jsonb,
         "Audit Status" text, "auditStatus" text, audit_status text, "Audit Score" text, "auditScore" text, audit_score text,
         "Audit Date" text, "auditDate" text, audit_date text, "Auditor Name" text, "auditorName" text, auditor_name text,
         custom_fields jsonb);

analyze staging.contacts, staging.contact_agents, staging.contact_queues, staging.contact_metrics,
        staging.metric_justifications, staging.contact_emotions, staging.generated_intents, staging.contact_topics;

insert into kore.agents (agent_id, agent_name, agent_email, first_seen_at, last_seen_at, last_contact_key)
select agent_id, (array_agg(agent_name order by started_at desc, contact_key desc))[1],
       (array_agg(agent_email order by started_at desc, contact_key desc))[1], min(started_at), max(started_at),
       (array_agg(contact_key order by started_at desc, contact_key desc))[1]
from staging.contact_agents
group by agent_id, case when agent_id is null then agent_email end, case when agent_id is null then agent_name end
on conflict (
    (coalesce(agent_id, '')),
    (case when agent_id is null then coalesce(agent_email, '') else '' end),
    (case when agent_id is null then coalesce(agent_name, '') else '' end)
) do update set agent_name = excluded.agent_name, agent_email = excluded.agent_email,
    first_seen_at = least(agents.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(agents.last_seen_at, excluded.last_seen_at), last_contact_key = excluded.last_contact_key;

insert into kore.queues (queue_id, queue_name, first_seen_at, last_seen_at, last_contact_key)
select queue_id, (array_agg(queue_name order by started_at desc, contact_key desc))[1], min(started_at), max(started_at),
       (array_agg(contact_key order by started_at desc, contact_key desc))[1]
from staging.contact_queues
group by queue_id, case when queue_id is null then queue_name end
on conflict ((coalesce(queue_id, '')), (case when queue_id is null then coalesce(queue_name, '') else '' end))
do update set queue_name = excluded.queue_name,
    first_seen_at = least(queues.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(queues.last_seen_at, excluded.last_seen_at), last_contact_key = excluded.last_contact_key;

insert into kore.evaluation_forms (form_name, scoring_type)
select distinct form_name, scoring_type from staging.contacts where form_name is not null or scoring_type is not null
on conflict do nothing;

insert into kore.metrics (metric_id, metric_name) select distinct metric_id, metric_name from staging.contact_metrics
on conflict do nothing;

insert into kore.emotions (emotion) select distinct emotion from staging.contact_emotions where emotion is not null
on conflict do nothing;

insert into kore.topics (level, topic_name, l1_name, topic_path)
select distinct 1, l1_name, l1_name, l1_name from staging.contact_topics
on conflict do nothing;
insert into kore.topics (parent_topic_key, level, topic_name, l1_name, l2_name, topic_path)
select distinct p.topic_key, 2, t.l2_name, t.l1_name, t.l2_name, concat_ws(' > ', t.l1_name, t.l2_name)
from staging.contact_topics t join kore.topics p on p.level = 1 and p.l1_name = t.l1_name
where t.level = 2
on conflict do nothing;
insert into kore.topics (parent_topic_key, level, topic_name, l1_name, l2_name, l3_name, topic_path)
select distinct p.topic_key, 3, t.l3_name, t.l1_name, t.l2_name, t.l3_name, concat_ws(' > ', t.l1_name, t.l2_name, t.l3_name)
from staging.contact_topics t join kore.topics p on p.level = 2 and p.l1_name = t.l1_name and p.l2_name = t.l2_name
where t.level = 3
on conflict do nothing;

insert into kore.contacts (contact_key, stream, conversation_id, custom_conversation_id, source, channel, direction,
    started_at, started_on, ended_at, duration_ms, language, duration_status, sentiment, sentiment_score, sentiment_start,
    sentiment_end, positive_pct, neutral_pct, negative_pct, evaluation_score, evaluation_form_key, pass_score, is_passed,
    fatal_error_count, is_churn_risk, is_escalation, taxonomy_resolution, customer_talk_pct, agent_talk_pct, silence_pct,
    total_topics_identified, audit_status, audit_score, audited_at, auditor_name, custom_fields, extra, first_seen_at, updated_at)
select c.contact_key, 'bench', c.conversation_id, staging.said(c."customConversationId"), staging.said(c.src),
    staging.said(c."Channel"), staging.said(c."contactDirection"), c.started_at, (c.started_at at time zone 'UTC')::date,
    staging.said(coalesce("Conversation End Time", "conversationEndTime", conversation_end_time))::timestamptz,
    split_part(staging.said("Duration"), ' ', 1)::numeric::bigint, staging.said("Language"), staging.said(duration_status),
    staging.said("Sentiment"), staging.said(coalesce("Sentiment Score", "sentimentScore", sentiment_score))::numeric,
    staging.said(pattern->>'start'), staging.said(pattern->>'end'), staging.said(ratio->>'positive')::numeric,
    staging.said(ratio->>'neutral')::numeric, staging.said(ratio->>'negative')::numeric, s.score, f.evaluation_form_key,
    staging.said(coalesce("Pass Score", "passScore", pass_score))::numeric,
    case when s.score is not null then staging.said("IsPassed")::boolean end,
    staging.said(coalesce("Fatal Errors", "fatalErrors", fatal_errors))::numeric::integer,
    staging.said("IsChurnRiskObserved")::boolean, staging.said("IsEscalationObserved")::boolean,
    staging.said(coalesce("Taxonomy Resolution", "taxonomyResolution", taxonomy_resolution)),
    staging.said(coalesce("Customer talk ratio percentage", "customerTalkRatioPercentage", customer_talk_ratio_percentage))::numeric,
    staging.said(coalesce("Agent talk ratio percentage", "agentTalkRatioPercentage", agent_talk_ratio_percentage))::numeric,
    staging.said(coalesce("Silence percentage", "silencePercentage", silence_percentage))::numeric,
    staging.said("Configured_Intents"->>'total_topics_identified')::numeric::integer,
    staging.said(coalesce("Audit Status", "auditStatus", audit_status)),
    staging.said(coalesce("Audit Score", "auditScore", audit_score))::numeric,
    staging.said(coalesce("Audit Date", "auditDate", audit_date))::timestamptz,
    staging.said(coalesce("Auditor Name", "auditorName", auditor_name)), c.custom_fields, c.extra, now(), now()
from staging.contacts c
cross join lateral (
    select staging.said(coalesce("Kore Evaluation Score", "koreEvaluationScore", kore_evaluation_score))::numeric as score
) as s
left join kore.evaluation_forms f
    on coalesce(f.form_name, '') = coalesce(c.form_name, '') and coalesce(f.scoring_type, '') = coalesce(c.scoring_type, '')
    and (c.form_name is not null or c.scoring_type is not null)
order by c.contact_key
on conflict (stream, conversation_id) do update set
    custom_conversation_id = excluded.custom_conversation_id, source = excluded.source, channel = excluded.channel,
    direction = excluded.direction, started_at = excluded.started_at, started_on = excluded.started_on,
    ended_at = excluded.ended_at, duration_ms = excluded.duration_ms, language = excluded.language,
    duration_status = excluded.duration_status, sentiment = excluded.sentiment, sentiment_score = excluded.sentiment_score,
    sentiment_start = excluded.sentiment_start, sentiment_end = excluded.sentiment_end, positive_pct = excluded.positive_pct,
    neutral_pct = excluded.neutral_pct, negative_pct = excluded.negative_pct, evaluation_score = excluded.evaluation_score,
    evaluation_form_key = excluded.evaluation_form_key, pass_score = excluded.pass_score, is_passed = excluded.is_passed,
    fatal_error_count = excluded.fatal_error_count, is_churn_risk = excluded.is_churn_risk,
    is_escalation = excluded.is_escalation, taxonomy_resolution = excluded.taxonomy_resolution,
    customer_talk_pct = excluded.customer_talk_pct, agent_talk_pct = excluded.agent_talk_pct, silence_pct = excluded.silence_pct,
    total_topics_identified = excluded.total_topics_identified, audit_status = excluded.audit_status,
    audit_score = excluded.audit_score, audited_at = excluded.audited_at, auditor_name = excluded.auditor_name,
    custom_fields = excluded.custom_fields, extra = excluded.extra, updated_at = excluded.updated_at;

insert into kore.contact_agents (contact_key, ordinal, agent_key, agent_started_at, crutch_word_score, empathy_score, is_primary)
select s.contact_key, s.ordinal, a.agent_key, s.agent_started_at, s.crutch_word_score, s.empathy_score, s.ordinal = 1
from staging.contact_agents s
join kore.agents a on coalesce(a.agent_id, '') = coalesce(s.agent_id, '')
    and case when a.agent_id is null then coalesce(a.agent_email, '') else '' end
      = case when s.agent_id is null then coalesce(s.agent_email, '') else '' end
    and case when a.agent_id is null then coalesce(a.agent_name, '') else '' end
      = case when s.agent_id is null then coalesce(s.agent_name, '') else '' end
order by s.contact_key, s.ordinal
on conflict (contact_key, ordinal) do update set agent_key = excluded.agent_key, agent_started_at = excluded.agent_started_at,
    crutch_word_score = excluded.crutch_word_score, empathy_score = excluded.empathy_score, is_primary = excluded.is_primary;

insert into kore.contact_queues (contact_key, ordinal, queue_key, is_primary)
select s.contact_key, s.ordinal, q.queue_key, s.ordinal = 1
from staging.contact_queues s
join kore.queues q on coalesce(q.queue_id, '') = coalesce(s.queue_id, '')
    and case when q.queue_id is null then coalesce(q.queue_name, '') else '' end
      = case when s.queue_id is null then coalesce(s.queue_name, '') else '' end
order by s.contact_key, s.ordinal
on conflict (contact_key, ordinal) do update set queue_key = excluded.queue_key, is_primary = excluded.is_primary;

insert into kore.contact_metrics (contact_key, ordinal, metric_key, weight, negative_weight, qualification, is_fatal_error,
    auditor_response)
select s.contact_key, s.ordinal, m.metric_key, s.weight, s.negative_weight, s.qualification, s.is_fatal_error, s.auditor_response
from staging.contact_metrics s
join kore.metrics m on coalesce(m.metric_id, '') = coalesce(s.metric_id, '')
    and coalesce(m.metric_name, '') = coalesce(s.metric_name, '')
order by s.contact_key, s.ordinal
on conflict (contact_key, ordinal) do update set metric_key = excluded.metric_key, weight = excluded.weight,
    negative_weight = excluded.negative_weight, qualification = excluded.qualification,
    is_fatal_error = excluded.is_fatal_error, auditor_response = excluded.auditor_response;

insert into kore.metric_justifications (contact_key, metric_ordinal, kind, ordinal, justification, source_system_value,
    agent_mentioned_value, agent_entity)
select contact_key, metric_ordinal, kind, ordinal, staging.said(justification), staging.said(source_system_value),
    staging.said(agent_mentioned_value), staging.said(agent_entity)
from staging.metric_justifications
order by contact_key, metric_ordinal, kind, ordinal
on conflict (contact_key, metric_ordinal, kind, ordinal) do update set justification = excluded.justification,
    source_system_value = excluded.source_system_value, agent_mentioned_value = excluded.agent_mentioned_value,
    agent_entity = excluded.agent_entity;

insert into kore.justification_messages (contact_key, metric_ordinal, kind, justification_ordinal, ordinal, message_id, message_at)
select j.contact_key, j.metric_ordinal, j.kind, j.ordinal, m.ordinal, staging.said(m.id),
    to_timestamp(staging.said(m.at)::numeric / 1000.0)
from staging.metric_justifications j,
     rows from (jsonb_array_elements_text(staging.list(j.message_id)), jsonb_array_elements_text(staging.list(j.message_at)))
     with ordinality as m (id, at, ordinal)
order by j.contact_key, j.metric_ordinal, j.kind, j.ordinal, m.ordinal
on conflict (contact_key, metric_ordinal, kind, justification_ordinal, ordinal) do update set
    message_id = excluded.message_id, message_at = excluded.message_at;

insert into kore.contact_emotions (contact_key, speaker, ordinal, emotion_key, duration_ms, proportion_pct)
select s.contact_key, s.speaker, s.ordinal, e.emotion_key, s.duration_ms, s.proportion_pct
from staging.contact_emotions s join kore.emotions e on e.emotion = s.emotion
order by s.contact_key, s.speaker, s.ordinal
on conflict (contact_key, speaker, ordinal) do update set emotion_key = excluded.emotion_key,
    duration_ms = excluded.duration_ms, proportion_pct = excluded.proportion_pct;

insert into kore.speaking_rates (contact_key, ordinal, speaker, source_id, message_id, message_at, start_offset_ms, word_count,
    time_taken_seconds, words_per_minute, score)
select r.contact_key, s.ordinal, staging.said(s.source), staging.said(s.source_id), staging.said(s.message_id),
    to_timestamp(staging.said(s.at)::numeric / 1000.0), staging.said(s.start)::numeric::bigint,
    staging.said(s.words)::numeric::integer, staging.said(s.taken)::numeric, staging.said(s.average)::numeric,
    staging.said(s.score)::numeric
from staging.records r,
     rows from (jsonb_to_recordset(staging.list(coalesce(r.record->'Speaking Rate', r.record->'speakingRate',
             r.record->'speaking_rate', r.record->'speechSpeed'))) as (
         source text, "sourceId" text, "messageId" text, msg_timestamp text, start text, "nWords" text, "timeTaken" text,
         average text, score text)) with ordinality
     as s (source, source_id, message_id, at, start, words, taken, average, score, ordinal)
order by r.contact_key, s.ordinal
on conflict (contact_key, ordinal) do update set speaker = excluded.speaker, source_id = excluded.source_id,
    message_id = excluded.message_id, message_at = excluded.message_at, start_offset_ms = excluded.start_offset_ms,
    word_count = excluded.word_count, time_taken_seconds = excluded.time_taken_seconds,
    words_per_minute = excluded.words_per_minute, score = excluded.score;

insert into kore.generated_intents (contact_key, ordinal, intent, topic, sentiment, sentiment_score, emotions)
select contact_key, ordinal, intent, topic, sentiment, sentiment_score,
    case when jsonb_typeof(emotions) = 'array' then array(select jsonb_array_elements_text(emotions)) end
from staging.generated_intents
order by contact_key, ordinal
on conflict (contact_key, ordinal) do update set intent = excluded.intent, topic = excluded.topic,
    sentiment = excluded.sentiment, sentiment_score = excluded.sentiment_score, emotions = excluded.emotions;

insert into kore.generated_intent_keywords (contact_key, intent_ordinal, ordinal, keyword)
select i.contact_key, i.ordinal, k.ordinal, k.keyword
from staging.generated_intents i, jsonb_array_elements_text(staging.list(i.keywords)) with ordinality as k (keyword, ordinal)
order by i.contact_key, i.ordinal, k.ordinal
on conflict (contact_key, intent_ordinal, ordinal) do update set keyword = excluded.keyword;

insert into kore.contact_topics (contact_key, ordinal, parent_ordinal, topic_key, level, confidence_score, sentiment_score, is_resolved)
select s.contact_key, s.ordinal, s.parent_ordinal, t.topic_key, s.level, s.confidence_score, s.sentiment_score, s.is_resolved
from staging.contact_topics s
join kore.topics t on t.level = s.level and t.l1_name = s.l1_name
    and coalesce(t.l2_name, '') = coalesce(s.l2_name, '') and coalesce(t.l3_name, '') = coalesce(s.l3_name, '')
order by s.contact_key, s.ordinal
on conflict (contact_key, ordinal) do update set parent_ordinal = excluded.parent_ordinal, topic_key = excluded.topic_key,
    level = excluded.level, confidence_score = excluded.confidence_score, sentiment_score = excluded.sentiment_score,
    is_resolved = excluded.is_resolved;

drop schema staging cascade;
