//! `koresync check`

mod api;
mod database;

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::paint::{self, Colour, painted};
use super::{Context, Exit, exit, output};
use crate::config::{Exposure, Secret, Settings};

/// Try everything that a run needs, a line each, with the mend.
///
/// Configuration, secret files, name and TLS, token, one request to the API, database privileges,
/// schema version and the clock. Exit 78 when the configuration is wrong, 77 when something was
/// refused, 69 when something was only out of reach, 1 for anything else; warnings do not count.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    Warning,
    Failed,
}

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
    /// What the finding alone would mean.
    exit: u8,
    #[serde(skip)]
    meaning: Exit,
}

impl Finding {
    fn fine(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fine, found, None, Exit::Done)
    }

    fn warning(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, found, Some(mend.into()), Exit::Done)
    }

    fn failed(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>, meaning: Exit) -> Self {
        Self::new(check, Verdict::Failed, found, Some(mend.into()), meaning)
    }

    /// An error that says itself what to do.
    fn error(check: impl Into<String>, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self::new(check, Verdict::Failed, exit::told(&error), None, exit::of(&error))
    }

    fn new(
        check: impl Into<String>,
        verdict: Verdict,
        found: impl Into<String>,
        mend: Option<String>,
        meaning: Exit,
    ) -> Self {
        Self { check: check.into(), verdict, found: found.into(), mend, exit: meaning.code(), meaning }
    }

    fn line(&self, is_coloured: bool) -> String {
        let (mark, colour) = match self.verdict {
            Verdict::Fine => ("✓", Colour::Green),
            Verdict::Warning => ("!", Colour::Yellow),
            Verdict::Failed => ("✗", Colour::Red),
        };
        let mark = painted(is_coloured, colour, mark);
        let clean = |text: &str| text.replace(['\n', '\r'], " ");
        let mut line = format!("{mark} {}: {}", self.check, clean(&self.found));
        if let Some(mend) = &self.mend {
            let _ = write!(line, " → {}", clean(mend));
        }
        line
    }
}

pub async fn execute(args: CheckArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let mut told = Told { is_json: context.global.json, is_coloured: paint::is_wanted(), findings: Vec::new() };
    if let Some(settings) = configuration(context, args.stream.as_deref(), &mut told)? {
        secrets(&settings, &mut told)?;
        for stream in settings.streams.values().filter(|s| args.stream.as_deref().is_none_or(|only| only == s.name)) {
            for finding in Box::pin(api::findings(&settings, stream, context)).await {
                told.tell(finding)?;
            }
        }
        for finding in Box::pin(database::findings(&settings, context)).await {
            told.tell(finding)?;
        }
    }
    if told.is_json {
        output::json(&told.findings)?;
    }
    Ok(verdict(&told.findings))
}

/// Whether the warehouse answers and has no schema yet.
pub(super) async fn lacks_schema(context: &Context) -> bool {
    let Ok(settings) = context.settings() else { return false };
    database::lacks_schema(&settings, context).await
}

/// Tells each finding as it comes, or all at the end as JSON.
struct Told {
    is_json: bool,
    is_coloured: bool,
    findings: Vec<Finding>,
}

impl Told {
    fn tell(&mut self, finding: Finding) -> Result<(), anyhow::Error> {
        if !self.is_json {
            output::data(&finding.line(self.is_coloured))?;
        }
        self.findings.push(finding);
        Ok(())
    }
}

/// Configuration before all, then refusals; out of reach only when nothing else is wrong.
fn verdict(findings: &[Finding]) -> Exit {
    let failed: Vec<Exit> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Failed).map(|finding| finding.meaning).collect();
    if failed.is_empty() {
        return Exit::Done;
    }
    [Exit::Configuration, Exit::Refused]
        .into_iter()
        .find(|exit| failed.contains(exit))
        .unwrap_or(if failed.iter().all(|exit| *exit == Exit::OutOfReach) { Exit::OutOfReach } else { Exit::Failed })
}

fn configuration(context: &Context, only: Option<&str>, told: &mut Told) -> Result<Option<Settings>, anyhow::Error> {
    let checked = context.settings().and_then(|settings| {
        settings.require_streams()?;
        settings.warehouse_connection()?;
        Ok(settings)
    });
    let settings = match checked {
        Ok(settings) => settings,
        Err(error) => {
            for problem in error.problems {
                let mend = "mend it, then `koresync config validate`";
                told.tell(Finding::failed("configuration", problem.to_string(), mend, Exit::Configuration))?;
            }
            return Ok(None);
        }
    };
    let names: Vec<&str> = settings.streams.keys().map(String::as_str).collect();
    if let Some(only) = only.filter(|only| !names.contains(only)) {
        let mend = format!("the configured ones are {}", names.join(", "));
        told.tell(Finding::failed("configuration", format!("no stream {only}"), mend, Exit::Configuration))?;
        return Ok(None);
    }
    let from = context.loader.chosen_file().map_or("the environment".into(), |file| file.display().to_string());
    told.tell(Finding::fine("configuration", format!("{from}, streams: {}", names.join(", "))))?;
    Ok(Some(settings))
}

/// Each secret file once, whoever uses it.
fn secrets(settings: &Settings, told: &mut Told) -> Result<(), anyhow::Error> {
    for secret in settings.secret_files() {
        told.tell(secret_file(secret))?;
    }
    Ok(())
}

fn secret_file(secret: &Secret) -> Finding {
    let Some(path) = secret.file() else { return Finding::fine("secret", "given in place") };
    let check = format!("secret file {}", path.display());
    if let Err(error) = secret.read() {
        return Finding::failed(
            check,
            error.to_string(),
            "write the secret there, readable by koresync",
            Exit::Configuration,
        );
    }
    match secret.exposure() {
        None => Finding::fine(check, "readable, and not by everybody"),
        Some(Exposure { found, mend }) => Finding::warning(check, found, mend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_outweighs_refusal_and_refusal_outweighs_reach() {
        let of = |exits: &[Exit]| {
            let findings: Vec<_> = exits.iter().map(|exit| Finding::failed("c", "f", "m", *exit)).collect();
            verdict(&findings)
        };
        assert_eq!(of(&[Exit::OutOfReach, Exit::Refused, Exit::Configuration]), Exit::Configuration);
        assert_eq!(of(&[Exit::OutOfReach, Exit::Refused]), Exit::Refused);
        assert_eq!(of(&[Exit::OutOfReach, Exit::OutOfReach]), Exit::OutOfReach);
        assert_eq!(of(&[Exit::OutOfReach, Exit::Failed]), Exit::Failed);
        assert_eq!(verdict(&[Finding::warning("c", "f", "m"), Finding::fine("c", "f")]), Exit::Done);
    }

    #[test]
    fn a_finding_is_one_line_with_its_mend() {
        let finding = Finding::failed("database", "away\nfor long", "start it", Exit::OutOfReach);
        assert_eq!(finding.line(false), "✗ database: away for long → start it");
        assert!(finding.line(true).starts_with("\u{1b}[31m✗\u{1b}[0m database"));
    }
}
