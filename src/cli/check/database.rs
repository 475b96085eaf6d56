//! The warehouse's side: connection, version, schema, rights, time zone, streams, clock.

use chrono::TimeDelta;

use super::Finding;
use crate::cli::{Context, Exit, migrate, session};
use crate::config::Settings;
use crate::warehouse::days::Keeping;
use crate::warehouse::migrate::SchemaError;
use crate::warehouse::status::probe::{Identity, Privileges, Room, StreamIdentity};
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
    findings.push(pooler(&options).await);
    match options.room().await {
        Ok(room) => findings.extend(self::room(&room, options.connections)),
        Err(error) => findings.push(Finding::error("room", error)),
    }
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
        Err(error) if error.is_refusal() => {
            let found = Finding::error("schema", error);
            findings.push(Finding { mend: Some("mend the rights first".to_owned()), ..found });
        }
        Err(error) => findings.push(Finding::error("schema", error)),
    }
    warehouse.close().await;
    findings
}

pub(super) async fn lacks_schema(settings: &Settings, context: &Context) -> bool {
    let Ok(options) = session::engine_connection(settings) else { return false };
    if options.reach().await.is_err() {
        return false;
    }
    let Ok(warehouse) = session::warehouse(settings, &context.clock, &options) else { return false };
    let is_missing = matches!(warehouse.check_schema().await, Err(WarehouseError::Schema(SchemaError::Missing)));
    warehouse.close().await;
    is_missing
}

fn server(options: &ConnectOptions, identity: &Identity) -> Finding {
    let found = format!("{} as {}, PostgreSQL {}", options.describe(), identity.user_name, identity.version);
    if identity.version_number < OLDEST_SERVER {
        return Finding::failed("database", found, "PostgreSQL 14 or newer is needed", Exit::Failed);
    }
    Finding::fine("database", found)
}

async fn pooler(options: &ConnectOptions) -> Finding {
    match options.is_pooled_by_transaction().await {
        Ok(true) => Finding::warning(
            "pooler",
            "a pooler hands sessions from client to client",
            "a run works with it; `koresync migrate` needs a direct URL",
        ),
        Ok(false) => Finding::fine("pooler", "none: a session stays with its client"),
        Err(error) => Finding::error("pooler", error),
    }
}

/// What may fill up: connections, and WAL that somebody keeps from being recycled.
fn room(room: &Room, needed: u32) -> Vec<Finding> {
    // Leases are renewed apart from the work, and members of dimensions made apart from both.
    let needed = 2 * i64::from(needed) + 1;
    let left = room.connections_most - (room.connections - room.connections_ours);
    let connections = format!("{left} of {} left for koresync, which may take {needed}", room.connections_most);
    let connections = if left < needed {
        let mend = "raise max_connections, lower sync.workers, or go through a pooler";
        Finding::warning("connections", connections, mend)
    } else {
        Finding::fine("connections", connections)
    };
    let wal = room.wal_bytes.map_or_else(
        || "how much WAL there is only a member of pg_monitor sees".to_owned(),
        |bytes| format!("{} of WAL", size(bytes)),
    );
    let found = format!("{} of data, {wal}; how much of the disk is free no SQL tells", size(room.database_bytes));
    let disk = if room.is_archiving_failing {
        Finding::warning(
            "disk",
            format!("{found}; the WAL archiver fails, so WAL piles up"),
            "mend archive_command; see pg_stat_archiver",
        )
    } else if room.idle_slots > 0 {
        let found = format!("{found}; {} replication slots are read by nobody, so WAL piles up", room.idle_slots);
        Finding::warning("disk", found, "drop them, or start who reads them; see pg_replication_slots")
    } else if room.wal_bytes.is_some_and(|bytes| bytes > 4 * room.wal_bytes_meant) {
        let found = format!("{found}, four times max_wal_size");
        Finding::warning(
            "disk",
            found,
            "see pg_stat_archiver, pg_replication_slots and wal_keep_size for what keeps it",
        )
    } else {
        Finding::fine("disk", found)
    };
    vec![connections, disk]
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn size(bytes: i64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1_024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1_024.0) }
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
    findings.push(days(warehouse).await);
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

/// Days that the daily views read as rows.
async fn days(warehouse: &Warehouse) -> Finding {
    match warehouse.keeping().await {
        Ok(Keeping::Kept) => Finding::fine("days", "kept for the daily views, once they stand still"),
        Ok(Keeping::Counted) => {
            Finding::fine("days", "counted by the daily views when these are asked, as on a cluster")
        }
        Ok(Keeping::Broken) => Finding::warning(
            "days",
            "triggers that mark changed days are missing or disabled, so daily views may be out of date",
            "as kore_owner: select koresync.keep_days();",
        ),
        Err(error) => Finding::error("days", error),
    }
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
                Finding::fine(check, format!("the one that filled the warehouse; {}", habits(held)))
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

/// What was learned of the vendor.
fn habits(held: &StreamIdentity) -> String {
    let mut habits = vec![match held.paging.as_deref() {
        None => "no window had two pages yet".to_owned(),
        Some("offset") => "pages go by offset".to_owned(),
        Some("page") => "pages go by page, the offset counts for nothing".to_owned(),
        Some(_) => "the offset counts pages".to_owned(),
    }];
    habits.extend(held.page_limit.map(|limit| format!("{limit} records a page at most")));
    habits.extend(held.pages_max.map(|pages| format!("no more than {pages} pages of a range")));
    habits.extend((held.is_total_rows == Some(false)).then(|| "its total counts something else than rows".to_owned()));
    habits.extend(match held.filter_field.as_deref() {
        Some("start") => Some("dates are compared with the start".to_owned()),
        Some(_) => {
            Some(format!("dates are compared with another time, up to {} s after the start", held.filter_lag_seconds))
        }
        None => None,
    });
    habits.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_fills_up_is_told_with_its_mend() {
        let well = Room {
            database_bytes: 5 << 30,
            wal_bytes: Some(1 << 30),
            wal_bytes_meant: 1 << 30,
            is_archiving_failing: false,
            idle_slots: 0,
            connections_most: 97,
            connections: 20,
            connections_ours: 10,
        };
        let verdicts = |told: Room| room(&told, 8).iter().map(|finding| finding.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(well.clone()), [Verdict::Fine, Verdict::Fine]);
        assert!(room(&well, 8)[1].found.starts_with("5.0 GiB of data, 1.0 GiB of WAL;"), "{:?}", room(&well, 8));
        // 17 may be taken; those of a daemon that runs are its own.
        assert_eq!(verdicts(Room { connections: 90, ..well.clone() })[0], Verdict::Fine);
        assert_eq!(verdicts(Room { connections: 91, ..well.clone() })[0], Verdict::Warning);
        for full in [
            Room { is_archiving_failing: true, ..well.clone() },
            Room { idle_slots: 1, ..well.clone() },
            Room { wal_bytes: Some((4 << 30) + 1), ..well },
        ] {
            assert_eq!(verdicts(full.clone())[1], Verdict::Warning, "{full:?}");
        }
    }
}
