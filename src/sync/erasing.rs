//! Erasing people: who they are is written down by keyed hash, then every text that the warehouse holds is
//! looked through. Killed at any moment, it is done again by the same command.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::private::Fate;
use super::rebuild::write;
use crate::domain::Payload;
use crate::domain::payload::{Packer, Texts};
use crate::domain::privacy::{Guard, Subject, is_hashed};
use crate::normalise::{Filter, Kept};
use crate::warehouse::erasure::{AsideFate, AsidePass, Begun, TEXTS};
use crate::warehouse::{Warehouse, WarehouseError};

/// Payloads, contacts and records in quarantine that are looked at in one transaction.
const PAYLOADS: usize = 200;
const CONTACTS: i64 = 2_000;
const ASIDE: i64 = 100;
/// Contacts that an agent's part is taken from in one transaction.
const PARTS: i64 = 1_000;
/// Passes over all payloads: each may find another name of an agent, which others may mention.
const PASSES: u32 = 3;

/// Who is erased.
#[derive(Debug, Clone, Default)]
pub struct People {
    pub conversations: Vec<String>,
    pub agents: Vec<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Ids, e-mails and names that were not kept out before.
    pub new_subjects: u64,
    pub contacts_removed: u64,
    pub agents_removed: u64,
    /// Contacts whose payload named somebody: payload and rows are kept without.
    pub contacts_rewritten: u64,
    /// Other rows of tables and of the history.
    pub rows_rewritten: u64,
    pub quarantined_removed: u64,
    pub quarantined_rewritten: u64,
}

/// Erases people. `told` hears how many payloads were looked at, and says whether to go on.
pub async fn erase(
    warehouse: &Warehouse,
    people: &People,
    mut told: impl FnMut(u64) -> bool,
) -> Result<Erased, WarehouseError> {
    let begun: Begun = warehouse
        .commit_retrying(|| async { warehouse.begin_erasure(&people.conversations, &people.agents).await })
        .await?;
    let mut sum = Erased {
        new_subjects: begun.new_subjects,
        contacts_removed: begun.contacts,
        quarantined_removed: begun.quarantined,
        ..Erased::default()
    };
    let agent_keys: Vec<i32> = begun.agents.iter().map(|agent| agent.agent_key).collect();
    let mut values: BTreeSet<String> = people.conversations.iter().chain(&people.agents).cloned().collect();
    let known = begun.agents.iter().flat_map(|agent| [&agent.agent_name, &agent.agent_email]).flatten();
    values.extend(known.filter(|value| !is_hashed(value)).cloned());
    for _ in 0..PASSES {
        let more = payloads(warehouse, &values, &mut sum, &mut told).await?;
        let before = values.len();
        let subjects: Vec<Subject<'_>> = more
            .iter()
            .flat_map(|(name, email)| [Some(Subject::AgentName(name)), email.as_deref().map(Subject::AgentEmail)])
            .flatten()
            .filter(|subject| !is_hashed(subject.value()) && !values.contains(subject.value()))
            .collect();
        if !subjects.is_empty() {
            warehouse.commit_retrying(|| async { warehouse.erase_names(&subjects).await }).await?;
        }
        let found: Vec<String> = subjects.iter().map(|subject| subject.value().to_owned()).collect();
        values.extend(found);
        if values.len() == before {
            break;
        }
    }
    quarantine(warehouse, &values, &mut sum).await?;
    rows(warehouse, &values, &agent_keys, &mut sum).await?;
    // Last: until here the same command finds by them what there is to be found.
    while warehouse.commit_retrying(|| async { warehouse.part_from_agents(&agent_keys, PARTS).await }).await? > 0 {}
    sum.agents_removed = warehouse.commit_retrying(|| async { warehouse.remove_agents(&agent_keys).await }).await?;
    Ok(sum)
}

/// Looks through all payloads. Gives names and e-mails under which they know agents who are erased.
async fn payloads(
    warehouse: &Warehouse,
    values: &BTreeSet<String>,
    sum: &mut Erased,
    told: &mut impl FnMut(u64) -> bool,
) -> Result<BTreeSet<(String, Option<String>)>, WarehouseError> {
    let mut names = BTreeSet::new();
    let (mut after, mut looked) = (None, 0);
    loop {
        let (last, is_over, found, rewritten) = warehouse
            .commit_retrying(|| async {
                let step = warehouse.open_pass(after, PAYLOADS).await?;
                let filter = Filter::erasing(Arc::clone(step.guard()), values.iter().map(String::as_str));
                let (mut found, mut rewritten) = (BTreeSet::new(), 0);
                let (last, is_over) = write(step, &filter, |raw, fate| {
                    let is_wanted = !matches!(fate, Fate::AsReceived);
                    if is_wanted {
                        found.extend(filter.erased_names(raw));
                        rewritten += 1;
                    }
                    is_wanted
                })
                .await?;
                Ok((last, is_over, found, rewritten))
            })
            .await?;
        names.extend(found);
        sum.contacts_rewritten += rewritten;
        looked += PAYLOADS as u64;
        after = last.or(after);
        if is_over {
            return Ok(names);
        }
        if !told(looked) {
            return Err(WarehouseError::Stopped);
        }
    }
}

async fn quarantine(warehouse: &Warehouse, values: &BTreeSet<String>, sum: &mut Erased) -> Result<(), WarehouseError> {
    let mut after = 0;
    loop {
        let (last, removed, rewritten) = warehouse
            .commit_retrying(|| async {
                let pass = warehouse.open_aside_pass(after, ASIDE).await?;
                let filter = Filter::erasing(Arc::clone(pass.guard()), values.iter().map(String::as_str));
                set_aside_anew(pass, &filter).await
            })
            .await?;
        sum.quarantined_removed += removed;
        sum.quarantined_rewritten += rewritten;
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}

/// Keeps records in quarantine as a filter says. Gives the last id, and how many went and were written anew.
pub(super) async fn set_aside_anew(
    pass: AsidePass,
    filter: &Filter,
) -> Result<(Option<i64>, u64, u64), WarehouseError> {
    let guard = Arc::clone(pass.guard());
    let texts = Texts::unpack(pass.records.iter().map(|record| &record.payload))?;
    let mut packer = Packer::new()?;
    let mut fates = Vec::new();
    for (record, raw) in pass.records.iter().zip(texts.iter()) {
        let stamp = guard.stamp(record.privacy_id);
        let raw_hash = is_opened(&guard, record.privacy_id).then(|| guard.raw_hash(raw));
        let kept = |payload| AsideFate::Kept { payload, raw_hash, text_bytes: None };
        fates.push((
            record.id,
            stamp,
            match filter.keep(raw) {
                Kept::AsReceived if raw_hash.is_none() && stamp == record.privacy_id => continue,
                Kept::AsReceived => kept(record.payload.clone()),
                Kept::Without { text, .. } => {
                    kept(packer.pack(&[text.as_bytes()])?.pop().unwrap_or_else(Payload::nothing))
                }
                Kept::Nothing => AsideFate::Kept { payload: Payload::nothing(), raw_hash, text_bytes: Some(raw.len()) },
                Kept::Erased => AsideFate::Gone,
            },
        ));
    }
    let removed = fates.iter().filter(|(.., fate)| matches!(fate, AsideFate::Gone)).count() as u64;
    let rewritten = fates.len() as u64 - removed;
    let last = pass.records.last().map(|record| record.id);
    pass.finish(&fates).await?;
    Ok((last, removed, rewritten))
}

/// Whether a text was kept with an open hash, where texts have keyed ones now.
pub(super) fn is_opened(guard: &Guard, kept_under: i32) -> bool {
    let earlier = guard.settings.get(&kept_under).copied().unwrap_or_default();
    earlier.keep_all() && !guard.treatments.keep_all()
}

async fn rows(
    warehouse: &Warehouse,
    values: &BTreeSet<String>,
    agent_keys: &[i32],
    sum: &mut Erased,
) -> Result<(), WarehouseError> {
    let guard = warehouse.guard().await?;
    let filter = Filter::erasing(guard, values.iter().map(String::as_str)).without_agents(agent_keys);
    let rewrite = |row: &str| filter.columns(row);
    let values: Vec<String> = values.iter().filter(|value| filter.looks_for(value)).cloned().collect();
    let mut after = None;
    loop {
        let (last, written) = warehouse
            .commit_retrying(|| async {
                warehouse.rewrite_texts(&TEXTS, (after, CONTACTS), (Some(&values), agent_keys), &rewrite).await
            })
            .await?;
        sum.rows_rewritten += written;
        let Some(last) = last else { break };
        after = Some(last);
    }
    sum.rows_rewritten +=
        warehouse.commit_retrying(|| async { warehouse.rewrite_names(&values, &rewrite).await }).await?;
    Ok(())
}
