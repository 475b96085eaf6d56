//! The command line, a file a subcommand.
//!
//! Data goes to stdout, words and progress to stderr. Every command ends in an [`Exit`].

pub mod backfill;
pub mod check;
pub mod completions;
pub mod config;
pub mod context;
mod counters;
#[cfg(feature = "demo")]
pub mod demo;
pub mod erase;
pub mod exit;
pub mod healthcheck;
pub mod lifecycle;
pub mod man;
pub mod memory;
pub mod metering;
pub mod migrate;
pub mod moment;
pub mod output;
pub mod paint;
pub mod privacy;
pub mod progress;
pub mod quarantine;
pub mod rebuild;
pub mod run;
pub mod schema;
pub mod session;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod status;
pub mod table;
pub mod upkeep;
pub mod verify;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub use context::{Context, Global};
pub use exit::{Ended, Exit};

use crate::config::Loader;
use crate::domain::SystemClock;
use crate::telemetry::traces;

/// For what still runs on other threads when the command has ended.
const RUNTIME_FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
#[command(name = "koresync", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 69 API or database out of reach,
75 someone else holds it, 77 refused by the API or the database, 78 configuration.";

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(run::RunArgs),
    Backfill(backfill::BackfillArgs),
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    Migrate(migrate::MigrateArgs),
    Rebuild(rebuild::RebuildArgs),
    Quarantine(quarantine::QuarantineArgs),
    Verify(verify::VerifyArgs),
    Schema(schema::SchemaArgs),
    Erase(erase::EraseArgs),
    Privacy(privacy::PrivacyArgs),
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    #[cfg(feature = "demo")]
    Simulate(Box<simulate::SimulateArgs>),
    /// Make, check and show the configuration
    Config(config::ConfigArgs),
    /// Ask the running daemon whether it is ready, for container health
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man,
}

impl Command {
    async fn execute(self, context: &Context) -> Result<Exit, anyhow::Error> {
        match self {
            Self::Run(args) => Box::pin(run::execute(args, context)).await,
            Self::Backfill(args) => Box::pin(backfill::execute(args, context)).await,
            Self::Status(args) => Box::pin(status::execute(args, context)).await,
            Self::Check(args) => Box::pin(check::execute(args, context)).await,
            Self::Migrate(args) => Box::pin(migrate::execute(args, context)).await,
            Self::Rebuild(args) => Box::pin(rebuild::execute(args, context)).await,
            Self::Quarantine(args) => Box::pin(quarantine::execute(args, context)).await,
            Self::Verify(args) => Box::pin(verify::execute(args, context)).await,
            Self::Schema(args) => Box::pin(schema::execute(args, context)).await,
            Self::Erase(args) => Box::pin(erase::execute(args, context)).await,
            Self::Privacy(args) => Box::pin(privacy::execute(args, context)).await,
            #[cfg(feature = "demo")]
            Self::Demo(args) => Box::pin(demo::execute(args, context)).await,
            #[cfg(feature = "demo")]
            Self::Simulate(args) => Box::pin(simulate::execute(*args, context)).await,
            Self::Config(args) => Box::pin(config::execute(args, context)).await,
            Self::Healthcheck(args) => healthcheck::execute(args, context).await,
            Self::Completions(args) => completions::execute(&args),
            Self::Man => man::execute(),
        }
    }
}

/// Reads the arguments, runs the command, and tells what went wrong on stderr.
pub fn run_process() -> ExitCode {
    #[cfg(feature = "faults")]
    crate::faults::arm();
    memory::keep_little();
    run(std::env::args_os()).into()
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed pipe is no fault of theirs.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let loader = Loader::from_process(cli.global.config.clone(), cli.global.overrides());
    let context = Context { global: cli.global, loader, clock: Arc::new(SystemClock) };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let ended = runtime.block_on(Box::pin(cli.command.execute(&context)));
    runtime.shutdown_timeout(RUNTIME_FAREWELL);
    traces::flush();
    match ended {
        Ok(exit) => exit,
        Err(error) => exit::report(&error),
    }
}

#[cfg(test)]
mod tests;
