//! The warehouse's side: connection, version, schema, rights, time zone, streams, clock.

use chrono::TimeDelta;

use super::Finding;
use crate::cli::{Context, Exit, migrate, session};
use crate::config::Settings;
use crate::warehouse::migrate::SchemaError;
use crate::warehouse::status::probe::{Identity, Privileges};
use crate::warehouse::{ConnectOptions, Warehouse, WarehouseError};

const OLDEST_SERVER: i32 = 140_000;
const SKEW: TimeDelta = TimeDelta::seconds(60);

pub(super) async fn findings(settings: &Settings, context: &Context) -> Vec<Finding> {
    let options = match session::engine_connection(settings) {
        Ok(options) => options,
        Err(error) => return vec![Finding::error("database", error)],
    };
    let identity = match options.identity().await {
        Ok(identity) => identity,
        Err(error) => {
            let mend = "check warehouse.url, the server, and the network between";
            let found = Finding::error(format!("database {}", options.describe()), error);
            return vec![Finding { mend: Some(mend.into()), ..found }];
        }
    };
    let warehouse = match session::warehouse(settings, &context.clock, &options) {
        Ok(warehouse) => warehouse,
        Err(error) => return vec![Finding::error("privacy key", error)],
    };
    let mut findings = vec![server(&options, &identity)];
    findings.extend(pooler(&options).await);
    let schema = warehouse.check_schema().await;
    let is_there = !matches!(schema, Err(WarehouseError::Schema(SchemaError::Missing)));
    findings.push(match options.privileges().await {
        Ok(privileges) => rights(&identity, &privileges, is_there),
        Err(error) => Finding::error("rights", error),
    });
    match schema {
        Ok(()) => {
            findings.push(Finding::fine("schema", "up to date"));
            findings.extend(content(settings, context, &warehouse).await);
        }
        Err(error) => findings.push(Finding::error("schema", error)),
    }
    warehouse.close().await;
    findings
}

fn server(options: &ConnectOptions, identity: &Identity) -> Finding {
    let found = format!("{} as {}, PostgreSQL {}", options.describe(), identity.user_name, identity.version);
    if identity.version_number < OLDEST_SERVER {
        return Finding::failed("database", found, "PostgreSQL 14 or newer is needed", Exit::Failed);
    }
    Finding::fine("database", found)
}

async fn pooler(options: &ConnectOptions) -> Option<Finding> {
    match options.is_pooled_by_transaction().await {
        Ok(true) => Some(Finding::warning(
            "pooler",
            "a pooler hands sessions from client to client",
            "a run works with it; `koresync migrate` needs a direct URL",
        )),
        Ok(false) => None,
        Err(error) => Some(Finding::error("pooler", error)),
    }
}

fn rights(identity: &Identity, privileges: &Privileges, is_schema_there: bool) -> Finding {
    let user = &identity.user_name;
    if !is_schema_there {
        if privileges.can_migrate {
            return Finding::fine("rights", format!("{user} may migrate"));
        }
        let sql = migrate::grants(user, &identity.database);
        return Finding::failed("rights", format!("{user} may not migrate"), sql, Exit::Refused);
    }
    if !privileges.closed_tables.is_empty() {
        let found = format!("{user} may not write {}", privileges.closed_tables.join(", "));
        return Finding::failed("rights", found, format!("grant kore_writer to \"{user}\";"), Exit::Refused);
    }
    if !privileges.can_skip_key_checks {
        let found = format!("{user} may write, but not leave foreign keys unchecked: loading takes twice as long");
        let mend = format!("grant set on parameter session_replication_role to \"{user}\"; (PostgreSQL 15 or newer)");
        return Finding::warning("rights", found, mend);
    }
    Finding::fine("rights", format!("{user} may write, and load fast"))
}

async fn content(settings: &Settings, context: &Context, warehouse: &Warehouse) -> Vec<Finding> {
    let mut findings = Vec::new();
    let configured = settings.warehouse.time_zone.name();
    findings.push(match warehouse.held_time_zone().await {
        Ok(None) => Finding::fine("time zone", format!("{configured}, settled by the first run")),
        Ok(Some(held)) if held == configured => Finding::fine("time zone", held),
        Ok(Some(held)) => {
            let error = WarehouseError::TimeZone { held, configured: configured.to_owned() };
            Finding::error("time zone", error)
        }
        Err(error) => Finding::error("time zone", error),
    });
    findings.push(privacy(settings, warehouse).await);
    findings.extend(streams(settings, warehouse).await);
    let (before, database) = (context.clock.now(), warehouse.now().await);
    findings.push(match database {
        Ok(now) if (now - before).abs() >= SKEW => {
            let found = format!("differs from this machine's by {} s", (now - before).num_seconds());
            Finding::warning("database clock", found, "synchronise both clocks (NTP)")
        }
        Ok(_) => Finding::fine("database clock", "agrees with this machine's"),
        Err(error) => Finding::error("database clock", error),
    });
    findings
}

/// The key must be the one that the warehouse's hashes were made with; other settings are put in force by a run.
async fn privacy(settings: &Settings, warehouse: &Warehouse) -> Finding {
    let in_force = match warehouse.privacy_in_force().await {
        Ok(in_force) => in_force,
        Err(error) => return Finding::error("privacy", error),
    };
    let configured = settings.privacy.treatments;
    let found = match (&in_force.key_fingerprint, in_force.erased) {
        (None, _) => configured.to_string(),
        (Some(fingerprint), erased) => format!("key {fingerprint}, {erased} people kept out; {configured}"),
    };
    match warehouse.try_privacy_key().await {
        Err(error @ (WarehouseError::PrivacyKey { .. } | WarehouseError::PrivacyKeyMissing { .. })) => {
            Finding { mend: Some("set privacy.key_file to that key".to_owned()), ..Finding::error("privacy", error) }
        }
        Err(error) => Finding::error("privacy", error),
        Ok(()) if in_force.treatments != configured => {
            let mend = if configured.is_as_strict_as(in_force.treatments) {
                "the next run puts it in force; then `koresync rebuild` applies it to what is held"
            } else {
                "the next run puts it in force; what was hidden comes back where it is read again, as by `koresync backfill`"
            };
            Finding::warning("privacy", format!("{found}; in force until now: {}", in_force.treatments), mend)
        }
        Ok(()) => Finding::fine("privacy", found),
    }
}

/// Under a known name, the same stream of the vendor must be configured.
async fn streams(settings: &Settings, warehouse: &Warehouse) -> Vec<Finding> {
    let held = match warehouse.stream_identities().await {
        Ok(held) => held,
        Err(error) => return vec![Finding::error("streams", error)],
    };
    let judged = settings.streams.values().map(|stream| {
        let check = format!("{} identity", stream.name);
        match held.iter().find(|held| held.stream == stream.name) {
            None => Finding::fine(check, "new to the warehouse"),
            Some(held) if held.account_id == stream.api.account_id && held.stream_id == stream.stream_id => {
                Finding::fine(check, "the one that filled the warehouse")
            }
            Some(held) => Finding::failed(
                check,
                format!("the warehouse holds account {} stream {} under this name", held.account_id, held.stream_id),
                "give the new one another name under [streams]",
                Exit::Configuration,
            ),
        }
    });
    judged.collect()
}
