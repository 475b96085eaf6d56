//! What is in force of people's rights: settings, key, and who was erased. A program that knows an earlier
//! version looks again before it writes; one with other settings or another key writes nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use sqlx::PgConnection;

use super::{Warehouse, WarehouseError};
use crate::domain::privacy::{Guard, HashKey, Kind, PrivacyKey, SubjectHash, Treatment, Treatments};

/// What this process was configured with.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    pub treatments: Treatments,
    pub key: Option<PrivacyKey>,
}

/// What differs from the settings that were in force before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    pub tightened: Vec<Kind>,
    pub loosened: Vec<Kind>,
    /// Whether the configured key became that of this warehouse.
    pub is_first_key: bool,
}

/// What `check` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub treatments: Treatments,
    pub key_fingerprint: Option<String>,
    /// Conversations and agents that are kept out.
    pub erased: i64,
}

type Row = (i64, i32, Option<String>, Option<Vec<u8>>);
type SettingsRow = (i32, String, String, String, String, String, String);

/// Until the end of the transaction, keeps the settings of the warehouse as they are. Others may hold them too.
pub(super) async fn share(connection: &mut PgConnection) -> Result<(), WarehouseError> {
    sqlx::query("select pg_advisory_xact_lock_shared(hashtext('koresync time zone'))").execute(connection).await?;
    Ok(())
}

/// Waits until nobody writes contacts by the settings in force, and keeps others from it until the end of the transaction.
pub(super) async fn seize(connection: &mut PgConnection) -> Result<(), WarehouseError> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('koresync time zone'))").execute(connection).await?;
    Ok(())
}

async fn settings(connection: &mut PgConnection) -> Result<HashMap<i32, Treatments>, WarehouseError> {
    let rows: Vec<SettingsRow> = sqlx::query_as(
        "select privacy_id, agent_name, agent_email, auditor_name, custom_fields, justification_text, recording_urls \
         from koresync.privacy_settings",
    )
    .fetch_all(connection)
    .await?;
    let treatments =
        |words: [&str; 6]| Treatments::of(|kind| Treatment::parse(words[kind as usize]).unwrap_or(Treatment::Drop));
    Ok(rows.iter().map(|(id, a, b, c, d, e, f)| (*id, treatments([a, b, c, d, e, f]))).collect())
}

async fn row(connection: &mut PgConnection) -> Result<Row, WarehouseError> {
    Ok(sqlx::query_as("select version, privacy_id, key_fingerprint, sealed_key from koresync.privacy")
        .fetch_one(connection)
        .await?)
}

async fn is_erasing(connection: &mut PgConnection) -> Result<bool, WarehouseError> {
    let exists = sqlx::query_scalar("select exists (select from koresync.erased_subjects)");
    Ok(exists.fetch_one(connection).await?)
}

impl Configured {
    /// The key of the hashes. Errors when one is needed and is not configured, or another one is.
    fn open(
        &self,
        fingerprint: Option<&str>,
        sealed: Option<&[u8]>,
        is_needed: bool,
    ) -> Result<Option<HashKey>, WarehouseError> {
        match (&self.key, fingerprint, sealed) {
            (Some(key), Some(held), Some(sealed)) => match key.open(sealed) {
                Some(opened) => Ok(Some(opened)),
                None => Err(WarehouseError::PrivacyKey { held: held.to_owned(), configured: key.fingerprint() }),
            },
            (None, Some(held), _) if is_needed => Err(WarehouseError::PrivacyKeyMissing { held: held.to_owned() }),
            _ => Ok(None),
        }
    }
}

impl Warehouse {
    /// What is in force, as this process last looked; whoever writes looks again.
    pub async fn guard(&self) -> Result<Arc<Guard>, WarehouseError> {
        if let Some(guard) = self.known_guard() {
            return Ok(guard);
        }
        let mut transaction = self.begin().await?;
        share(&mut transaction).await?;
        let guard = self.load_guard(&mut transaction).await?;
        transaction.commit().await?;
        Ok(guard)
    }

    fn known_guard(&self) -> Option<Arc<Guard>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is in force at this version, for a transaction that [`share`]s it.
    pub(super) async fn guard_at(
        &self,
        version: i64,
        connection: &mut PgConnection,
    ) -> Result<Arc<Guard>, WarehouseError> {
        match self.known_guard().filter(|guard| guard.version == version) {
            Some(guard) => Ok(guard),
            None => self.load_guard(connection).await,
        }
    }

    async fn load_guard(&self, connection: &mut PgConnection) -> Result<Arc<Guard>, WarehouseError> {
        let (version, privacy_id, fingerprint, sealed) = row(connection).await?;
        let settings = settings(connection).await?;
        let treatments = settings.get(&privacy_id).copied().unwrap_or_default();
        if treatments != self.privacy.treatments {
            let configured = self.privacy.treatments.to_string();
            return Err(WarehouseError::Privacy { held: treatments.to_string(), configured });
        }
        let erased: Vec<Vec<u8>> =
            sqlx::query_scalar("select subject_hash from koresync.erased_subjects").fetch_all(connection).await?;
        let erased: std::collections::HashSet<SubjectHash> =
            erased.into_iter().filter_map(|hash| hash.try_into().ok()).collect();
        let is_needed = !treatments.keep_all() || !erased.is_empty();
        let key = self.privacy.open(fingerprint.as_deref(), sealed.as_deref(), is_needed)?;
        let guard = Arc::new(Guard { version, privacy_id, treatments, key, erased, settings });
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&guard));
        Ok(guard)
    }

    /// Puts the configured settings in force, and stores the fingerprint of a key that is used for the first
    /// time. Errors when another key belongs to this warehouse, or one is needed and is not configured.
    pub async fn settle_privacy(&self) -> Result<Settled, WarehouseError> {
        let mut connection = self.pool.lend().await.map_err(|error| self.explained(error))?;
        let (_, privacy_id, fingerprint, sealed) = row(&mut connection).await?;
        let held = settings(&mut connection).await?.get(&privacy_id).copied().unwrap_or_default();
        let configured = self.privacy.treatments;
        let is_needed = is_erasing(&mut connection).await? || !configured.keep_all();
        connection.done().await?;
        self.privacy.open(fingerprint.as_deref(), sealed.as_deref(), is_needed)?;
        let is_first_key = fingerprint.is_none() && self.privacy.key.is_some();
        if configured == held && !is_first_key {
            return Ok(Settled::default());
        }
        self.put_in_force().await
    }

    /// Errors as [`Warehouse::settle_privacy`] does where the key is concerned, and changes nothing.
    pub async fn try_privacy_key(&self) -> Result<(), WarehouseError> {
        let mut connection = self.pool.lend().await.map_err(|error| self.explained(error))?;
        let (_, _, fingerprint, sealed) = row(&mut connection).await?;
        let is_erasing = is_erasing(&mut connection).await?;
        connection.done().await?;
        let is_needed = is_erasing || !self.privacy.treatments.keep_all();
        self.privacy.open(fingerprint.as_deref(), sealed.as_deref(), is_needed).map(|_| ())
    }

    async fn put_in_force(&self) -> Result<Settled, WarehouseError> {
        let configured = self.privacy.treatments;
        let mut transaction = self.begin().await?;
        seize(&mut transaction).await?;
        let (_, privacy_id, fingerprint, _) = row(&mut transaction).await?;
        let held = settings(&mut transaction).await?.get(&privacy_id).copied().unwrap_or_default();
        if let (None, Some(key)) = (&fingerprint, &self.privacy.key) {
            sqlx::query("update koresync.privacy set key_fingerprint = $1, sealed_key = $2, version = version + 1")
                .bind(key.fingerprint())
                .bind(key.seal(&HashKey::new(rand::random()), rand::random())?)
                .execute(&mut *transaction)
                .await?;
        }
        if configured != held {
            let words = Kind::ALL.map(|kind| configured.get(kind).as_str());
            let id: i32 = sqlx::query_scalar(
                "with made as (insert into koresync.privacy_settings (agent_name, agent_email, auditor_name, custom_fields, \
                   justification_text, recording_urls, first_used_at) \
                   values ($1, $2, $3, $4, $5, $6, coalesce($7, clock_timestamp())) on conflict do nothing returning privacy_id) \
                 select privacy_id from made union all select privacy_id from koresync.privacy_settings \
                 where (agent_name, agent_email, auditor_name, custom_fields, justification_text, recording_urls) \
                   = ($1, $2, $3, $4, $5, $6)",
            )
            .bind(words[0])
            .bind(words[1])
            .bind(words[2])
            .bind(words[3])
            .bind(words[4])
            .bind(words[5])
            .bind(self.clock.database_time())
            .fetch_one(&mut *transaction)
            .await?;
            sqlx::query(
                "update koresync.privacy set privacy_id = $1, version = version + 1, settled_at = coalesce($2, clock_timestamp())",
            )
            .bind(id)
            .bind(self.clock.database_time())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        let differing = |is: fn(&Treatment, &Treatment) -> bool| {
            Kind::ALL.into_iter().filter(|kind| is(&configured.get(*kind), &held.get(*kind))).collect()
        };
        Ok(Settled {
            tightened: differing(PartialOrd::gt),
            loosened: differing(PartialOrd::lt),
            is_first_key: fingerprint.is_none() && self.privacy.key.is_some(),
        })
    }

    pub async fn privacy_in_force(&self) -> Result<InForce, WarehouseError> {
        let mut connection = self.pool.lend().await.map_err(|error| self.explained(error))?;
        let (_, privacy_id, key_fingerprint, _) = row(&mut connection).await?;
        let treatments = settings(&mut connection).await?.get(&privacy_id).copied().unwrap_or_default();
        let erased = sqlx::query_scalar("select count(*) from koresync.erased_subjects where basis = 'id'")
            .fetch_one(&mut *connection)
            .await?;
        connection.done().await?;
        Ok(InForce { treatments, key_fingerprint, erased })
    }

    /// The key of the hashes, for who holds the settings.
    pub(super) async fn hash_key(&self, connection: &mut PgConnection) -> Result<HashKey, WarehouseError> {
        let (_, _, fingerprint, sealed) = row(connection).await?;
        self.privacy.open(fingerprint.as_deref(), sealed.as_deref(), true)?.ok_or_else(|| {
            WarehouseError::NotFound("no privacy key is in use: set privacy.key_file to the path of one".to_owned())
        })
    }

    /// Seals the key of the hashes with another key, in one step: before it the old one opens it, after it the
    /// new one. No hash changes.
    pub async fn rotate_privacy_key(&self, new: &PrivacyKey) -> Result<(), WarehouseError> {
        let mut transaction = self.begin().await?;
        seize(&mut transaction).await?;
        let key = self.hash_key(&mut transaction).await?;
        sqlx::query("update koresync.privacy set key_fingerprint = $1, sealed_key = $2, version = version + 1")
            .bind(new.fingerprint())
            .bind(new.seal(&key, rand::random())?)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
