//! `koresync simulate`

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use tokio::net::TcpListener;

use super::lifecycle::Lifecycle;
use super::{Context, Exit, output};
use crate::simulate::{self, Options};
use crate::telemetry::logs;

/// What the configuration names where the options leave the vendor open to anything.
const ACCOUNT_ID: &str = "acc-simulated";
const CLIENT_ID: &str = "cs-simulated";
const CLIENT_SECRET: &str = "any-secret-is-valid-for-this-simulated-vendor";
const STREAM_ID: &str = "st-simulated";

/// Answer like the vendor's API, from a seeded set of contacts
///
/// Prints a configuration for koresync to read from it. Ctrl-C ends it.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9470")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub options: Options,
}

pub async fn execute(args: SimulateArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    logs::install(&context.global.log_settings())?;
    let life = Lifecycle::start()?;
    let SimulateArgs { listen, mut options } = args;
    // Said and simulated must be the same history.
    let end = *options.end.get_or_insert_with(|| context.clock.now());
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    let words = words(&options, end, listener.local_addr()?);
    life.spawn_critical("the simulated vendor", {
        let (clock, stop) = (Arc::clone(&context.clock), life.stopping());
        async move { simulate::serve(options, clock, listener, stop).await }
    });
    output::data(&words)?;
    life.wait().await.into_exit()
}

/// Where it is, and how koresync and a person can talk to it.
fn words(options: &Options, end: DateTime<Utc>, address: SocketAddr) -> String {
    let or = |given: &Option<String>, otherwise: &str| quoted(given.as_deref().unwrap_or(otherwise));
    let start = end - TimeDelta::days(i64::from(options.days));
    let credentials = match &options.token {
        Some(token) if options.client_secret.is_none() => format!("token = {}", quoted(token)),
        _ => {
            let (id, secret) = (or(&options.client_id, CLIENT_ID), or(&options.client_secret, CLIENT_SECRET));
            format!("client_id = {id}\nclient_secret = {secret}")
        }
    };
    let stream_id = options.stream_ids.first().map_or(STREAM_ID, String::as_str);
    let (budget, rate) = match options.requests_per_minute {
        0 => ("without a limit of requests".to_owned(), 6_000),
        rate => (format!("{rate} requests a minute"), rate),
    };
    format!(
        "A simulated vendor answers at http://{address}: {contacts} contacts over {days} days, {budget}.\n\
         Ctrl-C ends it.\n\n\
         Written to a file, these lines let koresync read it, with [warehouse] url added:\n\n\
         [api]\n\
         base_url = \"http://{address}\"\n\
         path_prefix = {prefix}\n\
         account_id = {account}\n\
         org_id = \"o-simulated\"\n\
         {credentials}\n\
         requests_per_minute = {rate}\n\n\
         [streams.support]\n\
         stream_id = {stream}\n\
         start = \"{start}\"\n\n\
         Then:  koresync --config FILE migrate\n\
         \x20      koresync --config FILE run --once\n\n\
         What it was asked:                http://{address}/stats\n\
         What a perfect mirror holds now:  http://{address}/oracle?stream={stream_id}&name=support\n",
        contacts = options.contacts,
        days = options.days,
        prefix = quoted(&options.path_prefix),
        account = or(&options.account_id, ACCOUNT_ID),
        stream = quoted(stream_id),
        start = start.format("%Y-%m-%dT%H:%M:%SZ"),
    )
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn configuration(options: &Options) -> String {
        let end = DateTime::from_timestamp(1_774_261_123, 0).expect("a time");
        let words = words(options, end, SocketAddr::from(([127, 0, 0, 1], 8_080)));
        let from = words.find("[api]").expect("a configuration");
        let to = words.find("Then:").expect("its end");
        words[from..to].to_owned()
    }

    #[test]
    fn what_it_prints_is_a_configuration() {
        let strict = Options {
            client_id: Some("cs-\"1\"".into()),
            client_secret: Some("a \\ secret".into()),
            stream_ids: vec!["st-7".into()],
            requests_per_minute: 0,
            ..Options::default()
        };
        let token = Options { token: Some("a.b.c".into()), ..Options::default() };
        for options in [Options::default(), strict, token] {
            let text = configuration(&options);
            let settings = Loader::default().load_text("printed", &text).expect(&text);
            let stream = &settings.streams["support"];
            assert_eq!(stream.api.base_url, "http://127.0.0.1:8080");
            assert!(options.stream_ids.is_empty() || options.stream_ids.contains(&stream.stream_id));
        }
    }
}
