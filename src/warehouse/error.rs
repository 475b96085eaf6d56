//! What can go wrong with the database, sorted by what to do about it.

use sqlx::postgres::PgDatabaseError;

use super::load::tables::MissingKey;

#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    #[error("warehouse.url is not a PostgreSQL URL: write postgres://user@host:5432/database")]
    Url,
    #[error("another worker holds this window now; its result is not written")]
    Fenced,
    #[error("contacts of this window changed while it was read; it is read again")]
    Moved,
    #[error("{0}")]
    Schema(#[from] super::migrate::SchemaError),
    #[error("{0}")]
    Stream(#[from] super::streams::StreamConflict),
    #[error(
        "the warehouse counts days in time zone {held}, the configuration says {configured}: set warehouse.time_zone to {held}, \
         or move all days with `koresync rebuild --time-zone {configured}`"
    )]
    TimeZone { held: String, configured: String },
    #[error(
        "not all days of the warehouse are moved to time zone {zone} yet: run `koresync rebuild --time-zone {zone}` to the end"
    )]
    TimeZoneMoving { zone: String },
    #[error(
        "privacy.key is not the key that belongs to this warehouse (its fingerprint is {configured}, the warehouse's {held}): \
         configure the one that was used before; `koresync privacy rotate-key` replaces it"
    )]
    PrivacyKey { held: String, configured: String },
    #[error(
        "the warehouse needs the privacy key with fingerprint {held} to keep out what was erased or is hidden: set privacy.key_file to it"
    )]
    PrivacyKeyMissing { held: String },
    #[error(
        "other settings of [privacy] are in force in the warehouse ({held}; here {configured}): those of the run that started last \
         count; start all with one configuration"
    )]
    Privacy { held: String, configured: String },
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Held(String),
    #[error(transparent)]
    MissingKey(#[from] MissingKey),
    /// Where the server was looked for and what came.
    #[error("{0}")]
    Unreachable(String),
    /// The server has no TLS, or a certificate that does not verify.
    #[error(
        "PostgreSQL at {host} cannot be trusted: {why}. A certificate of an authority of one's own is accepted by \
         ?sslrootcert=FILE in warehouse.url; warehouse.allow_insecure = true leaves TLS to the sslmode of the URL"
    )]
    Untrusted { host: String, why: String },
    #[error("stopped")]
    Stopped,
    #[error("cannot pack or seal what is to be kept: {0}")]
    Payload(#[from] std::io::Error),
    /// No source, since it says all that the driver's error does, and that in other words.
    #[error("database: {}", in_words(.0))]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for WarehouseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// What the server says, with its SQLSTATE to look up; the driver would add the line of the server's own source.
fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(told) => match told.code() {
            Some(state) => format!("{} (SQLSTATE {state})", told.message()),
            None => told.message().to_owned(),
        },
        other => other.to_string(),
    }
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Another transaction won: the same again, at once.
    Retry,
    /// The server is away, full, or failing over: later.
    Wait,
    /// Somebody must change a right, a setting or the program.
    Operator,
    /// The data in hand cannot be stored: find the record.
    Data,
    /// Another worker took over: drop the work.
    Drop,
}

impl WarehouseError {
    pub fn sqlstate(&self) -> Option<String> {
        let told = self.told()?;
        let state = if told.routine() == Some(COPY_OF_A_CLUSTER) { told.detail().and_then(state_behind) } else { None };
        Some(state.unwrap_or(told.code()).to_owned())
    }

    /// What the server tells of the row that it refused. It may be personal: to be looked at, never shown.
    pub(super) fn detail(&self) -> Option<&str> {
        self.told()?.detail()
    }

    fn told(&self) -> Option<&PgDatabaseError> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.try_downcast_ref(),
            _ => None,
        }
    }

    /// Unknown failures ask for the operator, by waiting loudly: the daemon never gives up.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) | Self::Untrusted { .. } | Self::Moved => Remedy::Wait,
            Self::Fenced | Self::Stopped => Remedy::Drop,
            Self::Url
            | Self::Schema(_)
            | Self::Stream(_)
            | Self::TimeZone { .. }
            | Self::TimeZoneMoving { .. }
            | Self::PrivacyKey { .. }
            | Self::PrivacyKeyMissing { .. }
            | Self::Privacy { .. }
            | Self::NotFound(_)
            | Self::Held(_)
            | Self::MissingKey(_)
            | Self::Payload(_) => Remedy::Operator,
            Self::Database(error) => remedy_of(error, self.sqlstate().as_deref()),
        }
    }

    pub fn is_conflict(&self) -> bool {
        self.remedy() == Remedy::Retry
    }

    /// The server refused who we are or what we may do.
    pub fn is_refusal(&self) -> bool {
        self.sqlstate().is_some_and(|state| state.starts_with("28") || state == "42501")
    }
}

/// Where a coordinator tells what a node said to a COPY: its words and its detail, and instead of its SQLSTATE always
/// XX000, a failure of the server itself.
const COPY_OF_A_CLUSTER: &str = "ReportCopyError";

/// The SQLSTATE that a node's detail belongs to, in whatever language it is: a row that was refused is told by its values,
/// of which the key of a contact is the first (a check; no row of ours lacks a value that must be there), a key that is there
/// already, or is not there to be referred to, by the names of its columns.
fn state_behind(detail: &str) -> Option<&'static str> {
    let (_, told) = detail.split_once('(')?;
    if told.get(..36).is_some_and(|key| uuid::Uuid::parse_str(key).is_ok()) {
        Some("23514")
    } else if told.split_once(')').is_some_and(|(_, rest)| rest.starts_with("=(")) {
        Some("23505")
    } else {
        None
    }
}

fn remedy_of(error: &sqlx::Error, sqlstate: Option<&str>) -> Remedy {
    let Some(state) = sqlstate else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Remedy::Wait,
            _ => Remedy::Operator,
        };
    };
    match state {
        // Serialization failure, deadlock, a unique key that another window wrote first, and a key of
        // ours that is not there: remembered from a server that is gone, and looked up anew.
        "40001" | "40P01" | "23505" | "23503" => Remedy::Retry,
        // Insufficient resources, operator intervention (shutdown, crash), system errors, a server
        // that became read-only, a statement or lock that took too long.
        "25006" | "55P03" | "57014" | "25P03" => Remedy::Wait,
        _ if state.starts_with("08")
            || state.starts_with("53")
            || state.starts_with("57")
            || state.starts_with("58") =>
        {
            Remedy::Wait
        }
        _ if state.starts_with("22") || state.starts_with("23") || state.starts_with("54") => Remedy::Data,
        _ => Remedy::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_tells_what_a_node_refused() {
        for (detail, state) in [
            ("Failing row contains (019d24fe-e4aa-84bc-9ce8-047f6966431a, support, c (1)=(2), null).", Some("23514")),
            ("Key (contact_key, ordinal)=(019d24fe-e4aa-84bc-9ce8-047f6966431a, 1) already exists.", Some("23505")),
            (
                "Key (contact_key)=(019d24fe-e4aa-84bc-9ce8-047f6966431a) is not present in table \"contacts\".",
                Some("23505"),
            ),
            ("Process 4711 waits for ShareLock on transaction 815; blocked by process 4712.", None),
            ("Index row references tuple (0,1) in relation \"contacts\".", None),
        ] {
            assert_eq!(state_behind(detail), state, "{detail}");
        }
    }
}
