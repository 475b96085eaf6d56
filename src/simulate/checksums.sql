-- What a warehouse holds of one stream ($1, its name), in the terms of the simulated vendor's oracle:
-- (table_name text, row_count bigint, checksum text), a row for every table.
-- The text of a row is its columns joined by U+001F, NULL as \N, backslashes doubled; see oracle.rs.
with
c as (select * from kore.contacts where stream = $1 and removed_at is null),
agents as (
    select array[agent_id, agent_name, agent_email] as r
    from kore.agents
    where agent_key in (select f.agent_key from kore.contact_agents f join c using (contact_key))
),
queues as (
    select array[queue_id, queue_name] as r
    from kore.queues
    where queue_key in (select f.queue_key from kore.contact_queues f join c using (contact_key))
),
evaluation_forms as (
    select array[form_name, scoring_type] as r
    from kore.evaluation_forms
    where evaluation_form_key in (select evaluation_form_key from c)
),
metrics as (
    select array[metric_id, metric_name] as r
    from kore.metrics
    where metric_key in (select f.metric_key from kore.contact_metrics f join c using (contact_key))
),
emotions as (
    select array[emotion] as r
    from kore.emotions
    where emotion_key in (select f.emotion_key from kore.contact_emotions f join c using (contact_key))
),
topics as (
    select array[level::text, topic_name, l1_name, l2_name, l3_name, topic_path] as r
    from kore.topics
    where topic_key in (select f.topic_key from kore.contact_topics f join c using (contact_key))
),
contacts as (
    select array[
        stream, conversation_id, custom_conversation_id, source, channel, direction,
        (extract(epoch from started_at) * 1000000)::bigint::text,
        to_char(started_on, 'YYYY-MM-DD'),
        (extract(epoch from ended_at) * 1000000)::bigint::text,
        duration_ms::text, language, duration_status, sentiment, trim_scale(sentiment_score)::text,
        sentiment_start, sentiment_end,
        trim_scale(positive_pct)::text, trim_scale(neutral_pct)::text, trim_scale(negative_pct)::text,
        trim_scale(evaluation_score)::text, form_name, scoring_type, trim_scale(pass_score)::text,
        case when is_passed then 't' when not is_passed then 'f' end,
        fatal_error_count::text,
        case when is_churn_risk then 't' when not is_churn_risk then 'f' end,
        case when is_escalation then 't' when not is_escalation then 'f' end,
        taxonomy_resolution,
        trim_scale(customer_talk_pct)::text, trim_scale(agent_talk_pct)::text, trim_scale(silence_pct)::text,
        total_topics_identified::text, audit_status, trim_scale(audit_score)::text,
        (extract(epoch from audited_at) * 1000000)::bigint::text,
        auditor_name,
        (select string_agg(key || '=' || value, E'\x1e' order by key collate "C") from jsonb_each_text(custom_fields))
    ] as r
    from c left join kore.evaluation_forms using (evaluation_form_key)
),
contact_agents as (
    select array[
        stream, conversation_id, ordinal::text, agent_id,
        case when agent_id is null then agent_email end,
        case when agent_id is null then agent_name end,
        (extract(epoch from agent_started_at) * 1000000)::bigint::text,
        trim_scale(crutch_word_score)::text, trim_scale(empathy_score)::text,
        case when is_primary then 't' else 'f' end
    ] as r
    from kore.contact_agents join c using (contact_key) join kore.agents using (agent_key)
),
contact_queues as (
    select array[
        stream, conversation_id, ordinal::text, queue_id, case when queue_id is null then queue_name end,
        case when is_primary then 't' else 'f' end
    ] as r
    from kore.contact_queues join c using (contact_key) join kore.queues using (queue_key)
),
contact_metrics as (
    select array[
        stream, conversation_id, ordinal::text, metric_id, metric_name,
        trim_scale(weight)::text, trim_scale(negative_weight)::text, qualification,
        case when is_fatal_error then 't' when not is_fatal_error then 'f' end,
        auditor_response
    ] as r
    from kore.contact_metrics join c using (contact_key) join kore.metrics using (metric_key)
),
metric_justifications as (
    select array[
        stream, conversation_id, metric_ordinal::text, kind, ordinal::text,
        justification, source_system_value, agent_mentioned_value, agent_entity
    ] as r
    from kore.metric_justifications join c using (contact_key)
),
justification_messages as (
    select array[
        stream, conversation_id, metric_ordinal::text, kind, justification_ordinal::text, ordinal::text,
        message_id, (extract(epoch from message_at) * 1000000)::bigint::text
    ] as r
    from kore.justification_messages join c using (contact_key)
),
contact_emotions as (
    select array[
        stream, conversation_id, speaker, ordinal::text, emotion,
        trim_scale(f.duration_ms)::text, trim_scale(proportion_pct)::text
    ] as r
    from kore.contact_emotions f join c using (contact_key) join kore.emotions using (emotion_key)
),
speaking_rates as (
    select array[
        stream, conversation_id, ordinal::text, speaker, source_id, message_id,
        (extract(epoch from message_at) * 1000000)::bigint::text,
        start_offset_ms::text, word_count::text,
        trim_scale(time_taken_seconds)::text, trim_scale(words_per_minute)::text, trim_scale(score)::text
    ] as r
    from kore.speaking_rates join c using (contact_key)
),
generated_intents as (
    select array[
        stream, conversation_id, ordinal::text, intent, topic, f.sentiment,
        trim_scale(f.sentiment_score)::text, array_to_string(emotions, E'\x1e')
    ] as r
    from kore.generated_intents f join c using (contact_key)
),
generated_intent_keywords as (
    select array[stream, conversation_id, intent_ordinal::text, ordinal::text, keyword] as r
    from kore.generated_intent_keywords join c using (contact_key)
),
contact_topics as (
    select array[
        stream, conversation_id, ordinal::text, parent_ordinal::text, l1_name, l2_name, l3_name, f.level::text,
        trim_scale(confidence_score)::text, trim_scale(f.sentiment_score)::text,
        case when is_resolved then 't' when not is_resolved then 'f' end
    ] as r
    from kore.contact_topics f join c using (contact_key) join kore.topics using (topic_key)
),
every_row as (
    select 'agents' as table_name, r from agents
    union all select 'queues', r from queues
    union all select 'evaluation_forms', r from evaluation_forms
    union all select 'metrics', r from metrics
    union all select 'emotions', r from emotions
    union all select 'topics', r from topics
    union all select 'contacts', r from contacts
    union all select 'contact_agents', r from contact_agents
    union all select 'contact_queues', r from contact_queues
    union all select 'contact_metrics', r from contact_metrics
    union all select 'metric_justifications', r from metric_justifications
    union all select 'justification_messages', r from justification_messages
    union all select 'contact_emotions', r from contact_emotions
    union all select 'speaking_rates', r from speaking_rates
    union all select 'generated_intents', r from generated_intents
    union all select 'generated_intent_keywords', r from generated_intent_keywords
    union all select 'contact_topics', r from contact_topics
),
-- The first 8 bytes of the hash as a signed number. No text of the vendor's holds U+0001, which stands for NULL
-- while backslashes are doubled.
hashed as (
    select table_name,
           ('x' || substr(md5(replace(replace(array_to_string(r, E'\x1f', E'\x01'), '\', '\\'), E'\x01', '\N')), 1, 16))::bit(64)::bigint as h
    from every_row
),
table_names (table_name) as (
    values ('agents'), ('queues'), ('evaluation_forms'), ('metrics'), ('emotions'), ('topics'), ('contacts'),
           ('contact_agents'), ('contact_queues'), ('contact_metrics'), ('metric_justifications'),
           ('justification_messages'), ('contact_emotions'), ('speaking_rates'), ('generated_intents'),
           ('generated_intent_keywords'), ('contact_topics')
)
select t.table_name,
       count(h) as row_count,
       coalesce(sum(case when h < 0 then h::numeric + 18446744073709551616 else h::numeric end), 0)::text as checksum
from table_names t left join hashed using (table_name)
group by t.table_name
order by t.table_name
