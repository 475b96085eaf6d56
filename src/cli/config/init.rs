//! `koresync config init`: from nothing to a configuration that works.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::InitArgs;
use super::asking::{self, Answers, Asking};
use crate::cli::{Context, Ended, Exit, check, migrate, output};
use crate::config::{ConfigError, Loader, Problem, SEARCHED, Starter};

pub(super) async fn execute(args: InitArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let file = args.output.or_else(|| context.global.config.clone()).unwrap_or_else(|| PathBuf::from(SEARCHED[0]));
    if !args.force && file.exists() {
        return Err(exists(&file));
    }
    let (wants_check, wants_migrate) = (args.check, args.migrate);
    let starter = Starter {
        warehouse_url: args.warehouse_url,
        warehouse_url_file: args.warehouse_url_file,
        base_url: args.base_url,
        account_id: args.account_id,
        org_id: args.org_id,
        client_id: args.client_id,
        client_secret_file: args.client_secret_file,
        token_file: args.token_file,
        stream: args.stream,
        stream_id: args.stream_id,
        start: args.start,
    };
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if args.no_questions || !is_terminal || context.global.json {
        let text = starter.render();
        let left = placeholders(&file, &text)?;
        write(&file, &text, args.force)?;
        output::say(&format!("wrote {}", file.display()));
        if !left.is_empty() {
            output::say(&format!("still to be filled in: {}", left.join(", ")));
            return Ok(Exit::Done);
        }
        return follow_up(&file, context, wants_check, wants_migrate).await;
    }
    let mut asking = Asking::new(std::io::stdin().lock());
    output::say(&format!(
        "A configuration for {}. Enter takes what stands in brackets; Ctrl-C writes nothing.\n",
        file.display()
    ));
    let mut answers = Answers::new(starter, context.clock.now());
    asking.ask_all(&mut answers, &mut output::say)?;
    let text = loop {
        let text = answers.starter.render();
        let wrong = problems(&file, &text);
        if wrong.is_empty() {
            break text;
        }
        for problem in &wrong {
            output::say(&format!("  {}: {}", problem.key, problem.message));
        }
        asking.ask_again(&mut answers, &wrong, &mut output::say)?;
    };
    keep_secret(&answers.starter)?;
    write(&file, &text, args.force)?;
    output::say(&format!("\nwrote {}\n", file.display()));
    // Neither the lock on the input nor anything else is held while it is tested.
    drop(asking);
    let tested = Box::pin(check::execute(check::CheckArgs { stream: None }, &on(&file, context))).await?;
    let has_schema = !check::lacks_schema(&on(&file, context)).await;
    if !has_schema && yes("\nMake the warehouse's schema now?")? {
        migrate::execute(migrate::MigrateArgs { command: None }, &on(&file, context)).await?;
    }
    output::say(&format!("\nThen: koresync --config {} run", file.display()));
    // What is missing is told above, and a schema that was just made is not.
    Ok(if tested == Exit::Failed && !has_schema { Exit::Done } else { tested })
}

/// What flags ask for, once nothing is left to be filled in.
async fn follow_up(
    file: &Path,
    context: &Context,
    wants_check: bool,
    wants_migrate: bool,
) -> Result<Exit, anyhow::Error> {
    let context = on(file, context);
    if wants_migrate {
        migrate::execute(migrate::MigrateArgs { command: None }, &context).await?;
    }
    if wants_check {
        return Box::pin(check::execute(check::CheckArgs { stream: None }, &context)).await;
    }
    Ok(Exit::Done)
}

/// As a command that is started with this file.
fn on(file: &Path, context: &Context) -> Context {
    let loader = Loader { file: Some(file.to_owned()), ..context.loader.clone() };
    Context { loader, ..context.clone() }
}

fn yes(question: &str) -> Result<bool, anyhow::Error> {
    eprint!("{question} [Y/n] ");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line)?;
    Ok(read > 0 && !line.trim().to_ascii_lowercase().starts_with('n'))
}

/// A secret whose file is not there yet is asked for, unseen, and written for its owner alone.
fn keep_secret(starter: &Starter) -> Result<(), anyhow::Error> {
    let Some((file, what)) = asking::secret_file(starter).filter(|(file, _)| !file.exists()) else { return Ok(()) };
    let secret = rpassword::prompt_password(format!(
        "{what}, which goes to {} (not shown; Enter leaves it to you): ",
        file.display()
    ))?;
    if !secret.trim().is_empty() {
        write(&file, &format!("{}\n", secret.trim()), false)?;
    }
    Ok(())
}

fn problems(path: &Path, text: &str) -> Vec<Problem> {
    Loader::default().load_text(&path.display().to_string(), text).err().map(|error| error.problems).unwrap_or_default()
}

/// The keys that still hold the sample's placeholder; any other fault comes from a flag and is an
/// error.
fn placeholders(path: &Path, text: &str) -> Result<Vec<String>, ConfigError> {
    match Loader::default().load_text(&path.display().to_string(), text) {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            let (left, wrong): (Vec<_>, Vec<_>) = error.problems.into_iter().partition(Problem::is_placeholder);
            if wrong.is_empty() {
                Ok(left.into_iter().map(|problem| problem.key).collect())
            } else {
                Err(ConfigError { problems: wrong })
            }
        }
    }
}

fn exists(path: &Path) -> anyhow::Error {
    Ended::new(Exit::Failed, format!("{} exists already; --force overwrites it", path.display())).into()
}

/// Readable by its owner alone: the warehouse's address may hold a password.
fn write(path: &Path, text: &str, force: bool) -> Result<(), anyhow::Error> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let told = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(told)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(exists(path));
        }
        opened => opened.with_context(told)?,
    };
    file.write_all(text.as_bytes()).with_context(told)
}
