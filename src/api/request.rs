//! What is asked for: one page of a range of time.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::endpoint::{Endpoint, Placement};
use crate::faults::{Defect, is_planted};

/// One page of a request range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Sent as `startDate`, in the endpoint's date format.
    pub from: DateTime<Utc>,
    /// Sent as `endDate`.
    pub to: DateTime<Utc>,
    /// Records (or pages, for a server that reads it so) to skip.
    pub offset: u64,
    /// From 1.
    pub page: u64,
    pub limit: u32,
    /// In place of the endpoint's setting.
    pub include_below_threshold: Option<bool>,
}

#[derive(Serialize)]
struct Body {
    offset: u64,
    #[serde(rename = "startDate")]
    start_date: String,
    #[serde(rename = "endDate")]
    end_date: String,
    limit: u32,
    page: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_below_threshold: Option<bool>,
}

impl PageRequest {
    /// The first page of a range.
    pub fn first(from: DateTime<Utc>, to: DateTime<Utc>, limit: u32) -> Self {
        Self { from, to, offset: 0, page: 1, limit, include_below_threshold: None }
    }

    /// Whether anything before this page is skipped, by offset or by page.
    pub(super) fn is_first(&self) -> bool {
        self.offset == 0 && self.page <= 1
    }

    /// The body and, if the flag belongs there, the value of the query's `include_below_threshold`.
    pub(super) fn encode(&self, endpoint: &Endpoint) -> (Vec<u8>, Option<bool>) {
        let flag = self.include_below_threshold.or(endpoint.include_below_threshold);
        let flag = flag.filter(|_| !is_planted(Defect::BelowThresholdLost));
        let (in_body, in_query) = match endpoint.include_below_threshold_in {
            Placement::Body => (flag, None),
            Placement::Query => (None, flag),
        };
        let body = Body {
            offset: self.offset,
            start_date: endpoint.date_format.write(self.from),
            end_date: endpoint.date_format.write(self.to),
            limit: self.limit,
            page: self.page,
            include_below_threshold: in_body,
        };
        // Numbers and strings always serialise.
        (serde_json::to_vec(&body).unwrap_or_default(), in_query)
    }
}
