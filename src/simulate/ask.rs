//! What a request asks for, read from its body and query.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::Value;

use super::options::{Excess, Options, Paging};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub offset: u64,
    pub page: u64,
    /// As asked for.
    pub limit: u64,
    pub includes_below_threshold: bool,
}

impl Ask {
    /// An error is what to say of the first bad argument.
    pub fn read(body: &[u8], query: &str, options: &Options) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON".to_owned())?;
        let from = date(&body, "startDate")?;
        let to = date(&body, "endDate")?;
        if to < from {
            return Err("endDate is before startDate".to_owned());
        }
        let offset = whole(&body, "offset")?.ok_or("offset is required")?;
        let ask = Self {
            from,
            to,
            offset,
            page: whole(&body, "page")?.unwrap_or(1).max(1),
            limit: whole(&body, "limit")?.unwrap_or(10),
            includes_below_threshold: matches!(body.get("include_below_threshold"), Some(Value::Bool(true)))
                || query.split('&').any(|pair| pair == "include_below_threshold=true"),
        };
        if ask.limit == 0 {
            return Err("limit must be positive".to_owned());
        }
        if ask.limit > options.limit_max && options.limit_excess == Excess::Refuse {
            return Err(format!("limit must be at most {}", options.limit_max));
        }
        if options.offset_max.is_some_and(|most| ask.offset > most) {
            return Err("offset is too large".to_owned());
        }
        Ok(ask)
    }

    /// How many rows a page has.
    pub fn page_length(&self, options: &Options) -> u64 {
        self.limit.min(options.limit_max)
    }

    /// How many rows come before the page.
    pub fn skipped(&self, options: &Options) -> u64 {
        let limit = self.page_length(options);
        let pages = (self.page - 1).saturating_mul(limit);
        match options.paging {
            Paging::Offset => self.offset,
            Paging::Page => pages,
            Paging::Both => self.offset.saturating_add(pages),
            Paging::OffsetAsPages => self.offset.saturating_mul(limit),
        }
    }

    /// The range as `[from, to)` in milliseconds since the epoch.
    pub fn range(&self, options: &Options) -> (i64, i64) {
        let step = if options.whole_seconds { 1_000 } else { 1 };
        let edge = |moment: DateTime<Utc>, is_after: bool| {
            let ms = moment.timestamp_millis();
            ms - ms.rem_euclid(step) + if is_after { step } else { 0 }
        };
        (edge(self.from, options.start_exclusive), edge(self.to, !options.end_exclusive))
    }
}

fn whole(body: &Value, key: &str) -> Result<Option<u64>, String> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{key} must be an integer from 0")),
    }
}

fn date(body: &Value, key: &str) -> Result<DateTime<Utc>, String> {
    let text = body.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key} is required"))?;
    parse_date(text).ok_or_else(|| format!("{key} must be YYYY-MM-DD HH:MM:SS"))
}

/// All forms that editions of the vendor's page show: a blank or a `T`, with or without parts of a
/// second and `Z`. The prose writes the hour as `HH24`, which is taken at its word.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let read = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let moment = read("%Y-%m-%d %H:%M:%S%.f").or_else(|| read("%Y-%m-%dT%H:%M:%S%.f"));
    moment.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)).map(|m| m.and_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(body: &Value, options: &Options) -> Result<Ask, String> {
        Ask::read(body.to_string().as_bytes(), "", options)
    }

    fn body() -> Value {
        json!({"offset": 20, "page": 3, "limit": 10, "startDate": "2026-03-23 10:17:54", "endDate": "2026-03-23T23:00:35.250Z"})
    }

    #[test]
    fn every_form_of_date_is_read() {
        let expected = DateTime::from_timestamp(1_774_261_074, 0);
        for text in ["2026-03-23 10:17:54", "2026-03-23T10:17:54", "2026-03-23T10:17:54.000Z", "2026-03-23 10:17:54Z"] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
        assert!(parse_date("2026-03-23").is_some());
        assert_eq!(parse_date("23.03.2026"), None);
    }

    #[test]
    fn habits_of_paging_skip_differently() {
        for (paging, skipped) in
            [(Paging::Offset, 20), (Paging::Page, 20), (Paging::Both, 40), (Paging::OffsetAsPages, 200)]
        {
            let options = Options { paging, ..Options::default() };
            assert_eq!(ask(&body(), &options).expect("an ask").skipped(&options), skipped, "{paging:?}");
        }
    }

    #[test]
    fn limits_are_clamped_or_refused_at_their_edge() {
        let clamp = Options { limit_max: 9, ..Options::default() };
        assert_eq!(ask(&body(), &clamp).expect("an ask").page_length(&clamp), 9);
        let refuse = Options { limit_max: 9, limit_excess: Excess::Refuse, ..Options::default() };
        assert!(ask(&body(), &refuse).is_err());
        let exact = Options { limit_max: 10, limit_excess: Excess::Refuse, ..Options::default() };
        assert!(ask(&body(), &exact).is_ok());
        let offsets = |most| Options { offset_max: Some(most), ..Options::default() };
        assert!(ask(&body(), &offsets(20)).is_ok());
        assert!(ask(&body(), &offsets(19)).is_err());
    }

    #[test]
    fn ends_of_the_range_are_in_or_out() {
        let at = |text| parse_date(text).map(|moment| moment.timestamp_millis()).expect("a date");
        let (from, to) = (at("2026-03-23 10:17:54"), at("2026-03-23 23:00:35.25"));
        let range = |options: &Options| ask(&body(), options).expect("an ask").range(options);
        assert_eq!(range(&Options::default()), (from, to + 1));
        assert_eq!(range(&Options { end_exclusive: true, ..Options::default() }), (from, to));
        assert_eq!(range(&Options { start_exclusive: true, ..Options::default() }), (from + 1, to + 1));
        assert_eq!(range(&Options { whole_seconds: true, ..Options::default() }), (from, to - 250 + 1_000));
    }

    #[test]
    fn what_is_required_is_missed_and_defaults_are_the_documented_ones() {
        let options = Options::default();
        for key in ["offset", "startDate", "endDate"] {
            let mut body = body();
            body.as_object_mut().expect("an object").remove(key);
            assert!(ask(&body, &options).is_err(), "{key}");
        }
        let short = json!({"offset": 0, "startDate": "2026-03-23 10:17:54", "endDate": "2026-03-23 10:17:54"});
        let read = ask(&short, &options).expect("an ask");
        assert_eq!((read.page, read.limit, read.includes_below_threshold), (1, 10, false));
        let text = short.to_string();
        assert!(
            Ask::read(text.as_bytes(), "x=1&include_below_threshold=true", &options)
                .expect("an ask")
                .includes_below_threshold
        );
        assert!(Ask::read(b"{", "", &options).is_err());
    }
}
