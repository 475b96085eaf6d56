select contact_key, stream, conversation_id, custom_conversation_id, source, channel, direction, started_at,
       started_on, ended_at, duration_ms, language, duration_status, sentiment, sentiment_score, sentiment_start,
       sentiment_end, positive_pct, neutral_pct, negative_pct, evaluation_score, evaluation_form_key, pass_score,
       is_passed, fatal_error_count, is_churn_risk, is_escalation, taxonomy_resolution, customer_talk_pct,
       agent_talk_pct, silence_pct, total_topics_identified, audit_status, audit_score, audited_at, auditor_name,
       custom_fields, first_seen_at, updated_at
from {{ source('kore', 'contacts') }}
where removed_at is null
