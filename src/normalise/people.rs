//! Agents and queues.

use super::FaultKind;
use super::fields::{AgentField, AgentMembers, ContactField, ContactMembers, QueueField, QueueMembers};
use crate::domain::rows::{Agent, ContactAgent, ContactQueue, Queue};

pub(super) fn agents<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Vec<ContactAgent<'a>> {
    let rows = m.rows(ContactField::Agents, |ordinal, element, path, aside| {
        let mut m = AgentMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        let agent = Agent {
            agent_id: m.key_text(AgentField::Id),
            agent_name: m.key_text(AgentField::Name),
            agent_email: m.key_text(AgentField::Email),
        };
        if agent.agent_id.is_none() && agent.agent_name.is_none() && agent.agent_email.is_none() {
            return Err(FaultKind::NotARow);
        }
        Ok(Some(ContactAgent {
            ordinal,
            agent,
            agent_started_at: m.time(AgentField::StartTime),
            crutch_word_score: m.decimal(AgentField::CrutchWordScore),
            empathy_score: m.decimal(AgentField::EmpathyScore),
            is_primary: false,
        }))
    });
    let mut agents = rows.unwrap_or_default();
    if let Some(first) = agents.first_mut() {
        first.is_primary = true;
    }
    agents
}

pub(super) fn queues<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Vec<ContactQueue<'a>> {
    let rows = m.rows(ContactField::Queues, |ordinal, element, path, aside| {
        let mut m = QueueMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        let queue = Queue { queue_id: m.key_text(QueueField::Id), queue_name: m.key_text(QueueField::Name) };
        if queue.queue_id.is_none() && queue.queue_name.is_none() {
            return Err(FaultKind::NotARow);
        }
        Ok(Some(ContactQueue { ordinal, queue, is_primary: false }))
    });
    let mut queues = rows.unwrap_or_default();
    if let Some(first) = queues.first_mut() {
        first.is_primary = true;
    }
    queues
}
