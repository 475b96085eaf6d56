//! Every field that has a column, and the keys under which the vendor sends it.
//!
//! The documented spelling comes first: of two that are present it wins, then the next. Keys that
//! differ only in case are different keys, so each accepted spelling stands here by itself.

/// The fields of one kind of object.
pub(super) trait Fields: Copy + 'static {
    #[cfg(test)]
    const ALL: &'static [Self];

    /// The field of a key, and the key itself.
    fn of(key: &str) -> Option<(Self, &'static str)>;

    /// Accepted keys, the most trusted first.
    fn spellings(self) -> &'static [&'static str];

    fn slot(self) -> usize;

    /// Whether a key just met wins over the one that already stands for this field: one more trusted
    /// does, and so does the same key again.
    fn replaces(self, new: &str, old: &str) -> bool {
        let rank = |key: &str| self.spellings().iter().position(|s| *s == key);
        rank(new) <= rank(old)
    }
}

macro_rules! fields {
    ($(#[$doc:meta])* $name:ident as $members:ident { $($field:ident: $($spelling:literal)|+;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $($field),+ }

        impl Fields for $name {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$field),+];

            fn of(key: &str) -> Option<(Self, &'static str)> {
                match key {
                    $($($spelling => Some((Self::$field, $spelling)),)+)+
                    _ => None,
                }
            }

            fn spellings(self) -> &'static [&'static str] {
                match self { $(Self::$field => &[$($spelling),+]),+ }
            }

            fn slot(self) -> usize {
                self as usize
            }
        }

        pub(super) type $members<'s, 'v, 'a, 'p> =
            super::members::Members<'s, 'v, 'a, 'p, $name, { [$($name::$field),+].len() }>;
    };
}

fields! {
    /// A record.
    ContactField as ContactMembers {
        ConversationId: "Conversation ID" | "conversationId" | "conversation_id";
        CustomConversationId: "customConversationId" | "Custom Conversation ID" | "custom_conversation_id";
        Source: "src";
        Channel: "Channel" | "channel";
        Direction: "contactDirection" | "Contact Direction" | "contact_direction";
        StartTime: "Conversation Start Time" | "conversationStartTime" | "conversation_start_time";
        EndTime: "Conversation End Time" | "conversationEndTime" | "conversation_end_time";
        Duration: "Duration" | "duration";
        Language: "Language" | "language";
        DurationStatus: "duration_status" | "Duration Status" | "durationStatus";
        Sentiment: "Sentiment" | "sentiment";
        SentimentScore: "Sentiment Score" | "sentimentScore" | "sentiment_score";
        SentimentPattern: "Sentiment Pattern" | "sentimentPattern" | "sentiment_pattern";
        SentimentRatio: "Sentiment Ratio" | "sentimentRatio" | "sentiment_ratio";
        EvaluationScore: "Kore Evaluation Score" | "koreEvaluationScore" | "kore_evaluation_score";
        FormName: "Evaluation Form Name" | "evaluationFormName" | "evaluation_form_name";
        ScoringType: "Evaluation Form Scoring Type" | "evaluationFormScoringType" | "evaluation_form_scoring_type";
        PassScore: "Pass Score" | "passScore" | "pass_score";
        IsPassed: "IsPassed" | "Is Passed" | "isPassed" | "is_passed";
        FatalErrors: "Fatal Errors" | "fatalErrors" | "fatal_errors";
        IsChurnRisk: "IsChurnRiskObserved" | "Is Churn Risk Observed" | "isChurnRiskObserved" | "is_churn_risk_observed";
        IsEscalation: "IsEscalationObserved" | "Is Escalation Observed" | "isEscalationObserved" | "is_escalation_observed";
        TaxonomyResolution: "Taxonomy Resolution" | "taxonomyResolution" | "taxonomy_resolution";
        CustomerTalk: "Customer talk ratio percentage" | "Customer Talk Ratio Percentage" | "customerTalkRatioPercentage"
            | "customer_talk_ratio_percentage";
        AgentTalk: "Agent talk ratio percentage" | "Agent Talk Ratio Percentage" | "agentTalkRatioPercentage"
            | "agent_talk_ratio_percentage";
        Silence: "Silence percentage" | "Silence Percentage" | "silencePercentage" | "silence_percentage";
        AuditStatus: "Audit Status" | "auditStatus" | "audit_status";
        AuditScore: "Audit Score" | "auditScore" | "audit_score";
        AuditDate: "Audit Date" | "auditDate" | "audit_date";
        AuditorName: "Auditor Name" | "auditorName" | "auditor_name";
        CustomFields: "custom_fields" | "Custom Fields" | "customFields";
        Agents: "Agents" | "agents";
        Queues: "Queues" | "queues";
        Metrics: "Metrics" | "metrics";
        Emotions: "Emotions" | "emotions";
        CustomerEmotions: "Customer emotions" | "Customer Emotions" | "customerEmotions" | "customer_emotions";
        AgentEmotions: "Agent emotions" | "Agent Emotions" | "agentEmotions" | "agent_emotions";
        SpeakingRate: "Speaking Rate" | "speakingRate" | "speaking_rate" | "speechSpeed" | "Speech Speed" | "speech_speed";
        GeneratedIntents: "Generated Intents" | "generatedIntents" | "generated_intents" | "Intents" | "intents" | "Topics"
            | "topics";
        ConfiguredIntents: "Configured_Intents" | "Configured Intents" | "configuredIntents" | "configured_intents";
    }
}

/// Keys of a record that the vendor is known to send and that have no column.
pub(super) const WITHOUT_COLUMN: [&str; 9] = [
    "agentRecordings",
    "Agent Recordings",
    "agent_recordings",
    "customerRecordings",
    "Customer Recordings",
    "customer_recordings",
    "is_direction_defaulted",
    "Is Direction Defaulted",
    "isDirectionDefaulted",
];

fields! {
    /// `Sentiment Pattern`.
    PatternField as PatternMembers {
        Start: "start" | "Start";
        End: "end" | "End";
    }
}

fields! {
    /// `Sentiment Ratio`.
    RatioField as RatioMembers {
        Positive: "positive" | "Positive";
        Neutral: "neutral" | "Neutral";
        Negative: "negative" | "Negative";
    }
}

fields! {
    /// `Agents[]`.
    AgentField as AgentMembers {
        Id: "agentId" | "Agent ID" | "agent_id";
        Name: "Agent Name" | "agentName" | "agent_name";
        Email: "Agent Email" | "agentEmail" | "agent_email";
        StartTime: "Agent Start Time" | "agentStartTime" | "agent_start_time";
        CrutchWordScore: "Crutch Word Score" | "crutchWordScore" | "crutch_word_score";
        EmpathyScore: "Empathy Score" | "empathyScore" | "empathy_score";
    }
}

fields! {
    /// `Queues[]`.
    QueueField as QueueMembers {
        Id: "Queue ID" | "queueId" | "queue_id";
        Name: "Queue Name" | "queueName" | "queue_name";
    }
}

fields! {
    /// `Metrics[]`.
    MetricField as MetricMembers {
        Id: "Metric ID" | "metricId" | "metric_id";
        Name: "Metric Name" | "metricName" | "metric_name";
        Weight: "Metric Weight" | "metricWeight" | "metric_weight";
        NegativeWeight: "Metric Negative Weight" | "metricNegativeWeight" | "metric_negative_weight";
        Qualification: "Qualification" | "qualification";
        IsFatalError: "isFatalError" | "Is Fatal Error" | "IsFatalError" | "is_fatal_error";
        AuditorResponse: "Auditor Response" | "auditorResponse" | "auditor_response";
        Justification: "justification" | "Justification";
        TriggerJustification: "triggerJustification" | "Trigger Justification" | "trigger_justification";
    }
}

fields! {
    /// `justification[]` and `triggerJustification[]`.
    JustificationField as JustificationMembers {
        Justification: "justification" | "Justification";
        MessageId: "message_id" | "Message ID" | "messageId";
        Timestamp: "timestamp" | "Timestamp";
        SourceSystemValue: "sourceSystemValue" | "Source System Value" | "source_system_value";
        AgentMentionedValue: "agentMentionedValue" | "Agent Mentioned Value" | "agent_mentioned_value";
        AgentEntity: "AgentEntity" | "Agent Entity" | "agentEntity" | "agent_entity";
    }
}

fields! {
    /// `Emotions[]`, `Customer emotions[]` and `Agent emotions[]`.
    EmotionField as EmotionMembers {
        Emotion: "emotion" | "Emotion";
        Duration: "duration" | "Duration";
        Proportion: "proportion" | "Proportion";
    }
}

fields! {
    /// `Speaking Rate[]`.
    RateField as RateMembers {
        Source: "source" | "Source";
        SourceId: "sourceId" | "Source ID" | "source_id";
        MessageId: "messageId" | "Message ID" | "message_id";
        Timestamp: "msg_timestamp" | "Msg Timestamp" | "msgTimestamp";
        Start: "start" | "Start" | "start (offset)";
        WordCount: "nWords" | "N Words" | "n_words";
        TimeTaken: "timeTaken" | "Time Taken" | "time_taken";
        Average: "average" | "Average";
        Score: "score" | "Score";
    }
}

fields! {
    /// `Generated Intents[]`.
    IntentField as IntentMembers {
        Intent: "intent" | "Intent";
        Topic: "topic" | "Topic";
        Sentiment: "Sentiment" | "sentiment";
        SentimentScore: "Sentiment Score" | "sentimentScore" | "sentiment_score" | "Intent Sentiment Score"
            | "intentSentimentScore" | "intent_sentiment_score";
        Emotions: "emotions" | "Emotions";
        Keywords: "keywords" | "Keywords";
    }
}

fields! {
    /// `Configured_Intents`.
    ConfiguredField as ConfiguredMembers {
        Topics: "topics" | "Topics";
        Total: "total_topics_identified" | "Total Topics Identified" | "totalTopicsIdentified";
    }
}

fields! {
    /// A topic of `Configured_Intents`, at any level.
    TopicField as TopicMembers {
        Name: "topic_name" | "Topic Name" | "topicName";
        Level: "level" | "Level";
        Confidence: "confidence_score" | "Confidence Score" | "confidenceScore";
        Sentiment: "sentiment" | "Sentiment";
        SentimentScore: "Sentiment Score" | "sentimentScore" | "sentiment_score";
        Resolution: "resolution" | "Resolution";
        SecondLevel: "L2_topics" | "L2 Topics" | "L2 topics" | "L2Topics" | "l2Topics" | "l2_topics";
        ThirdLevel: "L3_topics" | "L3 Topics" | "L3 topics" | "L3Topics" | "l3Topics" | "l3_topics";
    }
}
