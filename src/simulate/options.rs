//! What the simulated vendor can be told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use super::faults::FaultRate;

/// Which of the body's `offset` and `page` is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Paging {
    #[default]
    Offset,
    Page,
    /// Both are added.
    Both,
    /// `offset` counts pages.
    #[value(name = "offset_as_pages")]
    OffsetAsPages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Order {
    /// By start, ascending.
    #[default]
    Asc,
    /// By start, descending.
    Desc,
    /// In an order that has nothing to do with time.
    #[value(name = "by-id")]
    ById,
}

/// What becomes of a limit beyond the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Excess {
    #[default]
    Clamp,
    Refuse,
}

/// What `totalResults` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TotalCounts {
    #[default]
    Rows,
    /// Contacts below the threshold too, though they are left out.
    Everything,
    /// A tenth and one more than there are.
    Inflated,
}

/// Which time `startDate` and `endDate` are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Filter {
    #[default]
    Start,
    End,
}

/// The status under which the rate limit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Disguise {
    #[default]
    #[value(name = "429")]
    TooManyRequests,
    #[value(name = "403")]
    Forbidden,
    #[value(name = "400")]
    BadRequest,
    #[value(name = "200")]
    Ok,
    #[value(name = "503")]
    Unavailable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RetryAfter {
    #[default]
    None,
    Seconds,
    Date,
}

/// Options of the simulated vendor.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Decides every contact and every chance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many contacts each stream has before the present
    #[arg(long, default_value_t = 20_000)]
    pub contacts: u64,
    /// Over how many days they are spread
    #[arg(long, default_value_t = 30)]
    pub days: u32,
    /// When those days end; now, if not given
    #[arg(long)]
    pub end: Option<DateTime<Utc>>,
    /// No contacts appear after the end
    #[arg(long)]
    pub still: bool,
    /// Few contacts between 22:00 and 06:00 UTC
    #[arg(long)]
    pub quiet_nights: bool,
    /// A stretch of so many days without any contact
    #[arg(long, default_value_t = 0)]
    pub empty_days: u32,
    /// How many days after the beginning that stretch begins
    #[arg(long, default_value_t = 0)]
    pub empty_after_days: u32,
    /// How long after its end a contact is listed
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1m")]
    pub appear_after: Duration,
    /// And so much later at most, evenly
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub appear_within: Duration,
    /// Stream ids that are known; all, if none is given
    #[arg(long = "stream-id")]
    pub stream_ids: Vec<String>,
    /// The path before /api/v1
    #[arg(long, default_value = "/qualityai")]
    pub path_prefix: String,

    /// The account that is known; all, if not given
    #[arg(long)]
    pub account_id: Option<String>,
    /// The appId of a valid token; any, if not given
    #[arg(long)]
    pub client_id: Option<String>,
    /// The secret that signs a valid token; with neither this nor --token any token is valid
    #[arg(long)]
    pub client_secret: Option<String>,
    /// A ready-made token that is valid as it is
    #[arg(long)]
    pub token: Option<String>,
    /// A token must have a jti and an exp at most an hour away, and is valid once
    #[arg(long)]
    pub enforce_jti: bool,

    /// Which of offset and page is obeyed
    #[arg(long, value_enum, default_value_t)]
    pub paging: Paging,
    /// The order of the contacts
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,
    /// The largest limit
    #[arg(long, default_value_t = 100)]
    pub limit_max: u64,
    /// What becomes of a larger one
    #[arg(long, value_enum, default_value_t)]
    pub limit_excess: Excess,
    /// A larger offset is refused
    #[arg(long)]
    pub offset_max: Option<u64>,
    /// The start date itself is outside the range
    #[arg(long)]
    pub start_exclusive: bool,
    /// The end date itself is outside the range
    #[arg(long)]
    pub end_exclusive: bool,
    /// Times are cut to the second before they are compared with the dates
    #[arg(long)]
    pub whole_seconds: bool,
    /// What the total counts
    #[arg(long, value_enum, default_value_t)]
    pub total_counts: TotalCounts,
    /// Which time the dates are compared with
    #[arg(long, value_enum, default_value_t)]
    pub filter: Filter,
    /// The last page says that there is more
    #[arg(long)]
    pub has_more_lies: bool,

    /// Requests that an account may make in any 60 seconds; 0 is without limit
    #[arg(long, default_value_t = 60)]
    pub requests_per_minute: u32,
    /// The status under which a passed limit is told
    #[arg(long, value_enum, default_value_t)]
    pub disguise: Disguise,
    /// Whether and how it is told when to try again
    #[arg(long, value_enum, default_value_t)]
    pub retry_after: RetryAfter,
    /// How long every answer takes
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub latency: Duration,
    /// How long a stalled answer is held back; never longer than two minutes of real time
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    pub stall_for: Duration,
    /// Answers are never compressed
    #[arg(long)]
    pub no_gzip: bool,
    /// A fault and its probability; may be repeated. Of requests: `rate_limited` (also with `_429`, `_403`,
    /// `_400`, `_200`, `_503`), `http_500`, `http_503`, `reset`, `stall`, `truncated`, `html_200`, `duplicated`,
    /// `slid`, `shuffled`, `insert_while_paging`, `swap_while_paging`. Of records: `late`, `scored_later`, `changed`, `vanished`,
    /// `drifted`, `malformed`, `repeated_ids`
    #[arg(long = "fault", value_name = "NAME=PROBABILITY")]
    pub faults: Vec<FaultRate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            contacts: 20_000,
            days: 30,
            end: None,
            still: false,
            quiet_nights: false,
            empty_days: 0,
            empty_after_days: 0,
            appear_after: Duration::from_mins(1),
            appear_within: Duration::ZERO,
            stream_ids: Vec::new(),
            path_prefix: "/qualityai".to_owned(),
            account_id: None,
            client_id: None,
            client_secret: None,
            token: None,
            enforce_jti: false,
            paging: Paging::default(),
            order: Order::default(),
            limit_max: 100,
            limit_excess: Excess::default(),
            offset_max: None,
            start_exclusive: false,
            end_exclusive: false,
            whole_seconds: false,
            total_counts: TotalCounts::default(),
            filter: Filter::default(),
            has_more_lies: false,
            requests_per_minute: 60,
            disguise: Disguise::default(),
            retry_after: RetryAfter::default(),
            latency: Duration::ZERO,
            stall_for: Duration::from_mins(2),
            no_gzip: false,
            faults: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn an_empty_command_line_is_the_default() {
        let line = Line::try_parse_from(["simulate"]).expect("options");
        assert_eq!(format!("{:?}", line.options), format!("{:?}", Options::default()));
    }

    #[test]
    fn options_are_read_from_a_command_line() {
        let line = Line::try_parse_from([
            "simulate",
            "--fault",
            "late=0.5",
            "--fault",
            "reset=0.1",
            "--paging",
            "offset_as_pages",
            "--order",
            "by-id",
            "--disguise",
            "200",
            "--end",
            "2026-03-01T00:00:00Z",
            "--appear-after",
            "90s",
            "--stream-id",
            "st-1",
        ])
        .expect("options");
        assert_eq!(line.options.faults.len(), 2);
        assert_eq!(line.options.paging, Paging::OffsetAsPages);
        assert_eq!(line.options.order, Order::ById);
        assert_eq!(line.options.disguise, Disguise::Ok);
        assert_eq!(line.options.appear_after, Duration::from_secs(90));
    }
}
