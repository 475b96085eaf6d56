-- What of the views is compared: all that a payload can tell, people and queues by what they are known by.
create schema shown;
create view shown.agents as select agent_key, coalesce(agent_id, concat_ws('/', agent_email, agent_name)) as agent from kore.agents;
create view shown.queues as select queue_key, coalesce(queue_id, queue_name) as queue from kore.queues;
create view shown.contact_overview as
select v.*, a.agent as primary_agent, q.queue as primary_queue from kore.contact_overview v
left join shown.agents a on a.agent_key = v.primary_agent_key left join shown.queues q on q.queue_key = v.primary_queue_key;
create view shown.agent_daily_scorecard as select v.*, a.agent from kore.agent_daily_scorecard v left join shown.agents a using (agent_key);
create view shown.queue_daily as select v.*, q.queue from kore.queue_daily v left join shown.queues q using (queue_key);
create view shown.metric_compliance_daily as select * from kore.metric_compliance_daily;
create view shown.metric_evidence as
select v.*, a.agent as primary_agent from kore.metric_evidence v left join shown.agents a on a.agent_key = v.primary_agent_key;
create view shown.topic_daily as select * from kore.topic_daily;
create view shown.emotion_daily as select * from kore.emotion_daily;
create view shown.sentiment_daily as select * from kore.sentiment_daily;
create view shown.evaluation_backlog as select * from kore.evaluation_backlog;
