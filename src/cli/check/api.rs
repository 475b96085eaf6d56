//! The vendor's side: name, TLS, token, one request, the clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Finding;
use crate::api::{ApiError, BaseUrl, Client, PageRequest, Remedy};
use crate::cli::metering::Meter;
use crate::cli::{Context, Exit, exit, session};
use crate::config::{Settings, StreamSettings};
use crate::domain::window::floor_to_second;

const PATIENCE: Duration = Duration::from_secs(10);
/// A clock this wrong is told; one this much more wrong makes tokens that are refused.
const SKEW: TimeDelta = TimeDelta::seconds(60);
const SKEW_OF_A_TOKEN: TimeDelta = TimeDelta::minutes(30);
/// A ready-made token that ends so soon is told beforehand.
const SOON: TimeDelta = TimeDelta::days(7);

pub(super) async fn findings(settings: &Settings, stream: &StreamSettings, context: &Context) -> Vec<Finding> {
    let named = |what: &str| format!("{} {what}", stream.name);
    let client = match session::client(settings, stream, &context.clock) {
        Ok(client) => client,
        Err(error) => return vec![Finding::error(named("endpoint"), error)],
    };
    let mut findings = Vec::new();
    let host = match session::endpoint(stream) {
        Ok(endpoint) => host(&named("host"), &endpoint.base_url).await,
        Err(error) => Finding::error(named("endpoint"), error),
    };
    findings.push(host);
    let now = context.clock.now();
    findings.push(token(&named("token"), &client, now).await);
    let meter = Meter::find(settings, stream, &context.clock).await;
    findings.extend(request(&named("request"), &named("clock"), settings, &client, &meter, now).await);
    findings
}

/// Any answer shows that name, network and TLS are well.
async fn host(check: &str, base: &BaseUrl) -> Finding {
    let (host, port) = (base.host().trim_matches(['[', ']']).to_owned(), base.port());
    let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    let address = match looked_up {
        Ok(Ok(mut addresses)) => addresses.next(),
        Ok(Err(_)) | Err(_) => None,
    };
    let has_proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if address.is_none() && !has_proxy {
        let mend = "check base_url, and this machine's DNS";
        return Finding::failed(check, format!("{host} has no address"), mend, Exit::OutOfReach);
    }
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if base.is_loopback() {
        builder = builder.no_proxy();
    }
    if !base.is_https() {
        builder = builder.tls_certs_only([]);
    }
    let answered = async { builder.build()?.head(base.to_string()).send().await };
    match answered.await.map_err(reqwest::Error::without_url) {
        Ok(_) => {
            Finding::fine(check, format!("{base} answers{}", if base.is_https() { " over verified TLS" } else { "" }))
        }
        Err(error) => {
            let found = exit::told(&error.into());
            let mend = "check the network, a firewall or proxy between, and this machine's certificates";
            Finding::failed(check, format!("no connection to {base}: {found}"), mend, Exit::OutOfReach)
        }
    }
}

async fn token(check: &str, client: &Client, now: DateTime<Utc>) -> Finding {
    let claims = match client.token_claims().await {
        Ok(Some(claims)) => claims,
        Ok(None) => {
            let mend = "the vendor's tokens are JWTs: check the token file";
            return Finding::warning(check, "the configured token is not a JWT; it is sent as it is", mend);
        }
        Err(error) => return Finding::error(check, error),
    };
    let app = claims.app_id.as_deref().map_or_else(|| "no appId".to_owned(), |app| format!("appId {app}"));
    let at = |moment: DateTime<Utc>| moment.format("%Y-%m-%dT%H:%M:%SZ");
    match claims.expires_at {
        Some(expires) if expires <= now => {
            Finding::failed(check, format!("{app}, expired at {}", at(expires)), "get a new token", Exit::Refused)
        }
        Some(_) if claims.app_id.is_none() => {
            Finding::warning(check, "it names no appId", "make the token with {\"appId\": \"<client id>\"}")
        }
        // A token made for each request lives for half an hour; one that was given should live on.
        Some(expires) if claims.issued_at != Some(now) && !is_fresh(claims.issued_at, now) && expires - now < SOON => {
            Finding::warning(check, format!("{app}, expires at {}", at(expires)), "have a new token at hand")
        }
        Some(expires) => Finding::fine(check, format!("{app}, expires at {}", at(expires))),
        None => Finding::fine(check, format!("{app}, never expires")),
    }
}

fn is_fresh(issued_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    issued_at.is_some_and(|issued| (now - issued).abs() < TimeDelta::minutes(1))
}

/// The settled hour, one record: does the API answer, and what time is it there?
async fn request(
    check: &str,
    clock_check: &str,
    settings: &Settings,
    client: &Client,
    meter: &Meter,
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let to = floor_to_second(now - settings.sync.settle.of(None));
    let asked = PageRequest::first(to - TimeDelta::hours(1), to, 1);
    match client.page_once(&asked, meter).await {
        Ok(page) => {
            let total = page.total.map_or_else(|| "no total".to_owned(), |total| format!("{total} contacts"));
            let found = format!("answered in {} ms: {total} in the settled hour", page.elapsed.as_millis());
            let mut findings = vec![Finding::fine(check, found)];
            findings.extend(page.date.map(|date| clock(clock_check, date - now)));
            findings
        }
        Err(ApiError::RateLimited { .. }) => {
            let mend = "another client uses the account's limit; lower requests_per_minute";
            vec![Finding::warning(check, "answered with its rate limit", mend)]
        }
        Err(error) => {
            let mend = match error.remedy() {
                Remedy::Wait => Some("try again; if it stays, ask the vendor".to_owned()),
                _ => None,
            };
            vec![Finding { mend, ..Finding::error(check, error) }]
        }
    }
}

/// `behind` is the server's time minus ours; its dates have whole seconds.
fn clock(check: &str, behind: TimeDelta) -> Finding {
    let seconds = behind.num_seconds();
    let found = if seconds.abs() <= 1 {
        "agrees with the API's".to_owned()
    } else {
        format!("{} s {} the API's", seconds.abs(), if seconds > 0 { "behind" } else { "ahead of" })
    };
    let mend = "synchronise this machine's clock (NTP)";
    match behind.abs() {
        skew if skew >= SKEW_OF_A_TOKEN => Finding::failed(check, found, mend, Exit::Failed),
        skew if skew >= SKEW => Finding::warning(check, found, mend),
        _ => Finding::fine(check, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_tokens_bear() {
        for (seconds, verdict) in
            [(0, Verdict::Fine), (-59, Verdict::Fine), (60, Verdict::Warning), (-1_800, Verdict::Failed)]
        {
            assert_eq!(clock("c", TimeDelta::seconds(seconds)).verdict, verdict, "{seconds}");
        }
    }
}
