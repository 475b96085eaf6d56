//! `koresync migrate`

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::session::{self, Attempt, Patience};
use super::table::{Align, Table};
use super::{Context, Ended, Exit, output};
use crate::config::Settings;
use crate::telemetry::logs;
use crate::warehouse::migrate::{self, MigrationState, SchemaError};
use crate::warehouse::{ConnectOptions, WarehouseError};

/// Bring the warehouse's schema up to this version.
///
/// Exit 75 when another migration is under way, 77 when the database does not allow it: then the SQL
/// for an administrator is told.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(subcommand)]
    pub command: Option<MigrateCommand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Subcommand)]
pub enum MigrateCommand {
    /// Apply what is missing (the default)
    #[default]
    Up,
    /// Show which migrations are applied and which are missing; exit 3 when any is
    Status,
    /// Print the SQL of every migration
    Print,
}

pub async fn execute(args: MigrateArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    match args.command.unwrap_or_default() {
        MigrateCommand::Up => up(context).await,
        MigrateCommand::Status => status(context).await,
        MigrateCommand::Print => {
            output::data(&migrate::print())?;
            Ok(Exit::Done)
        }
    }
}

async fn up(context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    logs::install(&settings.log)?;
    let options = session::engine_connection(&settings)?;
    let before = patiently(&settings, || {
        Box::pin(async {
            options.reach().await?;
            migrate::status(&options).await
        })
    })
    .await?;
    let outcome = patiently(&settings, || {
        Box::pin(async {
            if options.is_pooled_by_transaction().await? {
                return Err(SchemaError::Pooler.into());
            }
            migrate::up(&options).await
        })
    });
    let states = match outcome.await {
        Ok(states) => states,
        Err(error) => return Err(with_grants(error, &options).await),
    };
    let is_new = |state: &&MigrationState| before.iter().any(|b| b.version == state.version && !b.is_applied);
    let applied: Vec<&MigrationState> = states.iter().filter(is_new).collect();
    if context.global.json {
        output::json(&states)?;
    } else if applied.is_empty() {
        output::say("the warehouse's schema is up to date");
    }
    for state in applied {
        output::say(&format!("applied {:04} {}", state.version, state.description));
    }
    Ok(Exit::Done)
}

async fn status(context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let options = session::engine_connection(&settings)?;
    let states = patiently(&settings, || {
        Box::pin(async {
            options.reach().await?;
            migrate::status(&options).await
        })
    });
    let states = states.await?;
    if context.global.json {
        output::json(&states)?;
    } else {
        let mut table = Table::new([("migration", Align::Right), ("description", Align::Left), ("state", Align::Left)]);
        for state in &states {
            let word = if state.is_applied { "applied" } else { "missing" };
            table.row([format!("{:04}", state.version), state.description.clone(), word.to_owned()]);
        }
        output::data(&table.render())?;
    }
    let missing = states.iter().filter(|state| !state.is_applied).count();
    if missing == 0 {
        return Ok(Exit::Done);
    }
    output::say(&format!("{missing} missing: run `koresync migrate`"));
    Ok(Exit::Partly)
}

async fn patiently<'a, T>(
    settings: &Settings,
    attempt: impl FnMut() -> Attempt<'a, T> + Send,
) -> Result<T, anyhow::Error> {
    let never = CancellationToken::new();
    let patience = Patience::Until(settings.sync.give_up);
    let value = session::patiently(patience, &never, attempt).await?;
    value.ok_or_else(|| Ended::new(Exit::Partly, "stopped").into())
}

/// To a lack of rights, the SQL that ends it.
async fn with_grants(error: anyhow::Error, options: &ConnectOptions) -> anyhow::Error {
    let lacks_rights =
        error.downcast_ref::<WarehouseError>().is_some_and(|error| error.sqlstate().as_deref() == Some("42501"));
    if !lacks_rights {
        return error;
    }
    let Ok(identity) = options.identity().await else { return error };
    output::say("the database does not allow this role to migrate; an administrator may run, once:\n");
    output::say(&grants(&identity.user_name, &identity.database));
    error
}

/// What an administrator runs so that `user` may migrate `database` and write into it.
pub(super) fn grants(user: &str, database: &str) -> String {
    let (user, database) = (quoted(user), quoted(database));
    format!(
        "create role kore_owner nologin;\ncreate role kore_writer nologin;\ncreate role kore_reader nologin;\n\
         create role kore_reader_restricted nologin;\n\
         grant kore_owner, kore_writer to {user};\n\
         grant create on database {database} to kore_owner, {user};\n"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grants_quote_every_name() {
        let sql = grants("o\"brien", "ware house");
        assert!(sql.contains("to \"o\"\"brien\";") && sql.contains("database \"ware house\""), "{sql}");
    }
}
