//! The questions of `koresync config init`.

use std::io::BufRead;
use std::path::PathBuf;

use anyhow::bail;
use chrono::{DateTime, Datelike as _, Utc};
use secrecy::SecretString;

use crate::config::{Problem, Starter};

/// What is known so far.
#[derive(Debug)]
pub(super) struct Answers {
    pub starter: Starter,
    /// The year that it is: many years of history take days at the vendor's rate limit.
    usual_start: String,
}

impl Answers {
    pub fn new(starter: Starter, now: DateTime<Utc>) -> Self {
        Self { starter, usual_start: format!("{}-01-01T00:00:00Z", now.year()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Warehouse,
    BaseUrl,
    Account,
    Organisation,
    Client,
    ClientSecret,
    Token,
    Stream,
    StreamId,
    Start,
}

impl Question {
    const ALL: [Self; 10] = [
        Self::Warehouse,
        Self::BaseUrl,
        Self::Account,
        Self::Organisation,
        Self::Client,
        Self::ClientSecret,
        Self::Token,
        Self::Stream,
        Self::StreamId,
        Self::Start,
    ];

    /// Whether flags or answers so far leave it open.
    fn is_open(self, starter: &Starter) -> bool {
        let has_token = starter.token_file.is_some();
        let has_client = starter.client_id.is_some();
        match self {
            Self::Warehouse => starter.warehouse_url.is_none() && starter.warehouse_url_file.is_none(),
            Self::BaseUrl => starter.base_url.is_none(),
            Self::Account => starter.account_id.is_none(),
            Self::Organisation => starter.org_id.is_none(),
            // Without a client id it is a token.
            Self::Client | Self::Token => !has_client && !has_token,
            Self::ClientSecret => has_client && starter.client_secret_file.is_none(),
            Self::Stream => starter.stream.is_none(),
            Self::StreamId => starter.stream_id.is_none(),
            Self::Start => starter.start.is_none(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Warehouse => "The warehouse, a PostgreSQL database",
            Self::BaseUrl => "The vendor's address; eu-platform, de-platform and jp-platform are others",
            Self::Account => "The vendor's id of the account",
            Self::Organisation => "The vendor's id of the organisation",
            Self::Client => "The app's client id, as cs-...; Enter for a ready-made token",
            Self::ClientSecret => "The file that holds the client secret",
            Self::Token => "The file that holds the token",
            Self::Stream => "A name for the stream's rows: small letters, digits, _ and -",
            Self::StreamId => "The vendor's id of the stream, as st-..., from its App Settings page",
            Self::Start => "Where history begins",
        }
    }

    fn usual(self, answers: &Answers) -> Option<String> {
        match self {
            Self::Warehouse => Some("postgres://koresync@localhost/warehouse".to_owned()),
            Self::BaseUrl => Some("https://platform.kore.ai".to_owned()),
            Self::ClientSecret => Some("/run/secrets/kore".to_owned()),
            Self::Token => Some("/run/secrets/kore-token".to_owned()),
            Self::Stream => Some("support".to_owned()),
            Self::Start => Some(answers.usual_start.clone()),
            Self::Account | Self::Organisation | Self::Client | Self::StreamId => None,
        }
    }

    fn answer(self, starter: &mut Starter, given: String) {
        match self {
            Self::Warehouse => starter.warehouse_url = Some(SecretString::from(given)),
            Self::BaseUrl => starter.base_url = Some(given),
            Self::Account => starter.account_id = Some(given),
            Self::Organisation => starter.org_id = Some(given),
            // Left empty: a token is asked for.
            Self::Client => starter.client_id = Some(given).filter(|id| !id.is_empty()),
            Self::ClientSecret => starter.client_secret_file = Some(given),
            Self::Token => starter.token_file = Some(given),
            Self::Stream => starter.stream = Some(given),
            Self::StreamId => starter.stream_id = Some(given),
            Self::Start => starter.start = Some(given),
        }
    }

    fn forget(self, starter: &mut Starter) {
        match self {
            Self::Warehouse => (starter.warehouse_url, starter.warehouse_url_file) = (None, None),
            Self::BaseUrl => starter.base_url = None,
            Self::Account => starter.account_id = None,
            Self::Organisation => starter.org_id = None,
            Self::Client => starter.client_id = None,
            Self::ClientSecret => starter.client_secret_file = None,
            Self::Token => starter.token_file = None,
            Self::Stream => starter.stream = None,
            Self::StreamId => starter.stream_id = None,
            Self::Start => starter.start = None,
        }
    }

    /// Whose answer a problem of the configuration is about.
    fn behind(problem: &Problem) -> Option<Self> {
        let key = problem.key.as_str();
        Some(match key.rsplit('.').next()? {
            "url" | "url_file" if key.starts_with("warehouse") => Self::Warehouse,
            "base_url" => Self::BaseUrl,
            "account_id" => Self::Account,
            "org_id" => Self::Organisation,
            "client_id" => Self::Client,
            "client_secret" | "client_secret_file" => Self::ClientSecret,
            "token" | "token_file" => Self::Token,
            "stream_id" => Self::StreamId,
            "start" => Self::Start,
            _ if key.starts_with("streams") => Self::Stream,
            _ => return None,
        })
    }
}

/// Asks on a terminal, a line an answer.
pub(super) struct Asking<R> {
    input: R,
}

impl<R: BufRead> Asking<R> {
    pub fn new(input: R) -> Self {
        Self { input }
    }

    /// Everything that is open.
    pub fn ask_all(&mut self, answers: &mut Answers, say: &mut dyn FnMut(&str)) -> Result<(), anyhow::Error> {
        for question in Question::ALL {
            if question.is_open(&answers.starter) {
                self.ask(question, answers, say)?;
            }
        }
        Ok(())
    }

    /// What the problems are about, once more. Fails where one is about none of the questions.
    pub fn ask_again(
        &mut self,
        answers: &mut Answers,
        problems: &[Problem],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), anyhow::Error> {
        for problem in problems {
            let Some(question) = Question::behind(problem) else { bail!("{problem}") };
            question.forget(&mut answers.starter);
        }
        self.ask_all(answers, say)
    }

    fn ask(
        &mut self,
        question: Question,
        answers: &mut Answers,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), anyhow::Error> {
        let usual = question.usual(answers);
        let brackets = usual.as_ref().map_or_else(String::new, |usual| format!(" [{usual}]"));
        loop {
            say(&format!("{}{brackets}:", question.words()));
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                bail!("the answers ended before the questions; nothing was written");
            }
            let given = match (line.trim(), &usual) {
                ("", Some(usual)) => usual.clone(),
                (given, _) => given.to_owned(),
            };
            if !given.is_empty() || question == Question::Client {
                question.answer(&mut answers.starter, given);
                return Ok(());
            }
        }
    }
}

/// The file of the vendor's secret, and what it is.
pub(super) fn secret_file(starter: &Starter) -> Option<(PathBuf, &'static str)> {
    match (&starter.client_secret_file, &starter.token_file) {
        (Some(file), _) => Some((PathBuf::from(file), "The client secret")),
        (None, Some(file)) => Some((PathBuf::from(file), "The token")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::config::Loader;

    fn now() -> DateTime<Utc> {
        "2026-11-30T10:00:00Z".parse().expect("a time")
    }

    fn asked(starter: Starter, lines: &str) -> (Answers, Vec<String>) {
        let (mut answers, mut said) = (Answers::new(starter, now()), Vec::new());
        let mut asking = Asking::new(lines.as_bytes());
        asking.ask_all(&mut answers, &mut |line| said.push(line.to_owned())).expect("answers");
        (answers, said)
    }

    #[test]
    fn what_is_answered_makes_a_configuration_and_enter_takes_the_usual() {
        let (answers, said) = asked(Starter::default(), "\n\nacc-1\norg-1\ncs-1\n\n\nst-1\n2026-03-01T00:00:00Z\n");
        assert_eq!(said.len(), 9, "{said:#?}");
        assert!(said[8].ends_with("[2026-01-01T00:00:00Z]:"), "{said:?}");
        let settings = Loader::default().load_text("new.toml", &answers.starter.render()).expect("settings");
        assert_eq!(settings.streams["support"].stream_id, "st-1");
        let url = answers.starter.warehouse_url.expect("a URL");
        assert_eq!(url.expose_secret(), "postgres://koresync@localhost/warehouse");
    }

    #[test]
    fn without_a_client_id_a_token_is_asked_for_and_flags_are_not_asked() {
        let given = Starter { account_id: Some("acc-1".into()), stream: Some("sales".into()), ..Starter::default() };
        let (answers, said) = asked(given, "\n\norg-1\n\n/tmp/token\nst-1\n\n");
        assert!(said.iter().all(|line| !line.contains("account") && !line.contains("client secret")), "{said:#?}");
        assert_eq!(answers.starter.token_file.as_deref(), Some("/tmp/token"));
        let settings = Loader::default().load_text("new.toml", &answers.starter.render()).expect("settings");
        assert!(settings.streams.contains_key("sales"));
    }

    #[test]
    fn what_has_no_usual_answer_is_asked_until_it_has_one_and_the_end_of_input_is_an_error() {
        let (_, said) = asked(Starter::default(), "\n\n\n\nacc-1\norg-1\ncs-1\n\n\nst-1\n\n");
        assert_eq!(said.iter().filter(|line| line.contains("account")).count(), 3);
        let mut answers = Answers::new(Starter::default(), now());
        let ended = Asking::new("\n".as_bytes()).ask_all(&mut answers, &mut |_| ());
        assert!(ended.expect_err("an end").to_string().contains("nothing was written"));
    }

    #[test]
    fn what_was_answered_wrongly_is_asked_again_and_nothing_else() {
        let (mut answers, _) = asked(Starter::default(), "\n\nacc-1\norg-1\ncs-1\n\n\nst-1\nyesterday\n");
        let wrong = Loader::default().load_text("new.toml", &answers.starter.render()).expect_err("a problem").problems;
        let mut said = Vec::new();
        let mut asking = Asking::new("2026-02-01T00:00:00Z\n".as_bytes());
        asking.ask_again(&mut answers, &wrong, &mut |line| said.push(line.to_owned())).expect("an answer");
        assert_eq!(said.len(), 1, "{said:?}");
        Loader::default().load_text("new.toml", &answers.starter.render()).expect("settings");
    }
}
