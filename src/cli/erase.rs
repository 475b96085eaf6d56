//! `koresync erase`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;

use super::lifecycle::Lifecycle;
use super::session::{self, Patience};
use super::{Context, Ended, Exit, output};
use crate::domain::privacy::SHORTEST_KEY;
use crate::sync::erasing::{self, Erased, People};
use crate::telemetry::logs;

/// Remove people from every table, history, payload and quarantine, and keep them out.
///
/// A conversation goes with all that hangs on it. An agent goes by id, e-mail and name; the contacts that the
/// agent had a part in stay, without that part. What is kept of either is a keyed hash, by which later reads,
/// backfills, rebuilds and retries know them and leave them out: `privacy.key_file` is needed. Killed, the same
/// command does the rest.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("people").args(["conversation", "agent"]).required(true).multiple(true)))]
pub struct EraseArgs {
    /// The vendor's id of a conversation, in whatever stream; may be given several times
    #[arg(long, value_name = "ID", value_parser = id)]
    pub conversation: Vec<String>,
    /// The vendor's id of an agent; may be given several times
    #[arg(long, value_name = "ID", value_parser = id)]
    pub agent: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

fn id(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("write the vendor's id".to_owned()) } else { Ok(text.to_owned()) }
}

pub async fn execute(args: EraseArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    if settings.privacy_key()?.is_none() {
        let message = format!(
            "people are kept out by keyed hashes, and privacy.key is missing: write a random text of {SHORTEST_KEY} characters or \
             more to a file, as with `openssl rand -hex 32`, and set key_file in [privacy] to its path, here and for the daemon"
        );
        return Err(Ended::new(Exit::Configuration, message).into());
    }
    if !args.yes && !is_confirmed(&args)? {
        return Err(Ended::new(Exit::Usage, "nothing was erased: answer yes, or give --yes").into());
    }
    logs::install(&context.log_beside_progress(&settings))?;
    let life = Lifecycle::start()?;
    let (stop, clock, is_json) = (life.stopping(), Arc::clone(&context.clock), context.global.json);
    let work = async move {
        let warehouse = session::open(&settings, &clock).await?;
        session::settle(&warehouse).await?;
        let people = People { conversations: args.conversation, agents: args.agent };
        let patience = Patience::Until(settings.sync.give_up);
        // What was done is found done where it is tried again.
        let erased = session::patiently(patience, &stop, || {
            Box::pin(erasing::erase(&warehouse, &people, |looked| {
                tracing::debug!(payloads = looked, "Looking for who is erased.");
                !stop.is_cancelled()
            }))
        })
        .await;
        warehouse.close().await;
        let Some(erased) = erased? else {
            return Err(Ended::new(
                Exit::Partly,
                "stopped before all was looked through; the same command does the rest",
            )
            .into());
        };
        if is_json {
            output::json(&erased)?;
        }
        tell(&erased);
        Ok(Exit::Done)
    };
    life.complete(Box::pin(work)).await
}

/// Asks on a terminal; elsewhere nobody answers.
fn is_confirmed(args: &EraseArgs) -> Result<bool, anyhow::Error> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let (conversations, agents) = (args.conversation.len(), args.agent.len());
    write!(stderr, "Erase {conversations} conversations and {agents} agents for good? Type yes: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn tell(erased: &Erased) {
    let Erased { contacts_removed, agents_removed, contacts_rewritten, rows_rewritten, .. } = erased;
    let aside = erased.quarantined_removed + erased.quarantined_rewritten;
    output::say(&format!(
        "{contacts_removed} contacts and {agents_removed} agents removed; {contacts_rewritten} contacts, {rows_rewritten} other rows \
         and {aside} records in quarantine are kept without them"
    ));
    if erased.new_subjects == 0 {
        output::say("all of them were kept out before");
    }
    output::say(
        "What was deleted is on the database's disk until its pages are used anew: `vacuum` makes that possible, `vacuum full` of \
         kore.contacts, its child tables, kore.contact_changes, koresync.raw_contacts and koresync.quarantined_records does it at \
         once and locks them meanwhile. WAL archives, backups, replicas and exports keep it until they expire; after restoring a \
         backup, erase again.",
    );
}
