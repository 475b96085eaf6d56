//! What must hold of the warehouse whenever the engine is at rest, by the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::site::{STREAM, Site};
use crate::world::{Contact, Listing, Millis, ROWS, World};

/// A verified window of the ledger.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Look {
    from_at: DateTime<Utc>,
    to_at: DateTime<Utc>,
    requested_from: DateTime<Utc>,
    requested_to: DateTime<Utc>,
    read_at: DateTime<Utc>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct Held {
    conversation_id: String,
    language: String,
    is_removed: bool,
    read_at: DateTime<Utc>,
    requested_from: DateTime<Utc>,
    requested_to: DateTime<Utc>,
}

impl Held {
    fn version(&self) -> u32 {
        self.language.trim_start_matches('v').parse().expect("a version")
    }
}

/// What the warehouse held at moments of rest.
#[derive(Debug, Default)]
pub struct Memory {
    /// The version of each contact at the last look, and at each moment of rest.
    last: BTreeMap<String, u32>,
    past: Vec<(DateTime<Utc>, BTreeMap<String, u32>)>,
    changes: HashMap<String, i64>,
    watermark: Option<DateTime<Utc>>,
    /// From when on contacts may be called removed: the vendor's filter is known.
    concludes_since: Option<Millis>,
}

impl Memory {
    /// Panics, telling why, where something does not hold.
    pub async fn judge(&mut self, site: &Site) {
        let world_of = |work: &mut dyn FnMut(&World)| site.vendor.with(|world| work(world));
        let looks: Vec<Look> = sqlx::query_as(
            "select from_at, to_at, requested_from, requested_to, read_at from koresync.windows where state = 'verified' order by from_at",
        )
        .fetch_all(&site.pool)
        .await
        .expect("the ledger");
        let held: Vec<Held> = sqlx::query_as(
            "select c.conversation_id, c.language, c.removed_at is not null as is_removed, r.read_at, r.requested_from, r.requested_to \
             from kore.contacts c join koresync.raw_contacts r using (contact_key)",
        )
        .fetch_all(&site.pool)
        .await
        .expect("the contacts");
        let mut rows: HashMap<String, BTreeSet<String>> = HashMap::new();
        let told: Vec<(String, String)> = sqlx::query_as(ROWS).fetch_all(&site.pool).await.expect("the rows");
        let count = told.len();
        for (id, row) in told {
            rows.entry(id).or_default().insert(row);
        }
        assert_eq!(count, rows.values().map(BTreeSet::len).sum::<usize>(), "a row is there twice");
        let aside: Vec<Option<String>> = sqlx::query_scalar("select conversation_id from koresync.quarantined_records")
            .fetch_all(&site.pool)
            .await
            .expect("the quarantine");
        let counted = self.sums(site).await;
        let held: HashMap<String, Held> = held.into_iter().map(|held| (held.conversation_id.clone(), held)).collect();
        assert_eq!(counted, i64::try_from(held.len()).expect("few"), "contacts, and those that windows inserted");
        self.watermark(site, &looks).await;
        let concludes_since = self.concludes_since;
        world_of(&mut |world| {
            for id in held.keys() {
                assert!(world.contacts.contains_key(id), "{id} is held, and never was at the vendor");
            }
            for (id, contact) in &world.contacts {
                let seen = Seen { world, contact, looks: &looks, aside: &aside, concludes_since };
                seen.judge(held.get(id), rows.get(id));
            }
        });
        self.history(site, &held).await;
    }

    async fn sums(&self, site: &Site) -> i64 {
        let (inserted, wrong): (i64, i64) = sqlx::query_as(
            "select coalesce(sum(inserted + inserted_before), 0)::bigint, \
               count(*) filter (where rows <> \"distinct\" + repeated or \"distinct\" <> inserted + changed + unchanged + quarantined + erased) \
             from koresync.windows",
        )
        .fetch_one(&site.pool)
        .await
        .expect("the sums");
        assert_eq!(wrong, 0, "windows whose sums do not add up");
        inserted
    }

    /// The watermark is the end of the unbroken verified stretch from the start, and never goes back.
    async fn watermark(&mut self, site: &Site, looks: &[Look]) {
        let stream: Option<(DateTime<Utc>, DateTime<Utc>, Option<String>)> =
            sqlx::query_as("select watermark, frontier, filter_field from koresync.streams where stream = $1")
                .bind(STREAM)
                .fetch_optional(&site.pool)
                .await
                .expect("the stream");
        let Some((watermark, frontier, filter)) = stream else { return };
        let mut reached = site.start;
        for look in looks {
            if look.from_at <= reached {
                reached = reached.max(look.to_at);
            }
        }
        assert_eq!(watermark, reached, "the watermark, and the end of what is verified from the start on");
        assert!(watermark <= frontier.max(site.start), "the watermark {watermark} is ahead of the frontier {frontier}");
        assert!(frontier <= site.now() - crate::site::SETTLE, "the frontier {frontier} is within the settle time");
        assert!(self.watermark.is_none_or(|before| before <= watermark), "the watermark went back");
        self.watermark = Some(watermark);
        if filter.as_deref() == Some("start") {
            self.concludes_since.get_or_insert(site.clock.millis());
        }
    }

    /// Each change that was seen, and no other, has its row; what was held at each moment is told right.
    async fn history(&mut self, site: &Site, held: &HashMap<String, Held>) {
        let versions: BTreeMap<String, u32> = held.iter().map(|(id, held)| (id.clone(), held.version())).collect();
        for (id, version) in &self.last {
            let now = versions.get(id);
            assert!(now.is_some(), "{id} was held and is lost");
            assert!(now >= Some(version), "{id} went back from version {version} to {now:?}");
            *self.changes.entry(id.clone()).or_default() += i64::from(now != Some(version));
        }
        let told: Vec<(String, i64)> = sqlx::query_as(
            "select c.conversation_id, count(*) from kore.contact_changes h join kore.contacts c using (contact_key) \
             where 'language' = any(h.changed_columns) group by 1",
        )
        .fetch_all(&site.pool)
        .await
        .expect("the history");
        let told: HashMap<String, i64> = told.into_iter().collect();
        for id in versions.keys() {
            let (seen, told) = (self.changes.get(id).copied().unwrap_or(0), told.get(id).copied().unwrap_or(0));
            assert_eq!(told, seen, "changes of {id} in its history, and those that were seen");
        }
        self.last = versions;
    }

    /// Nobody is at work at this moment: what is held now is what was held as of it.
    pub fn rest(&mut self, site: &Site) {
        self.past.push((site.now(), self.last.clone()));
    }

    /// The past, asked for now.
    pub async fn judge_past(&self, site: &Site) {
        for (moment, held) in self.past.iter().step_by(3) {
            let told: Vec<(String, String)> =
                sqlx::query_as("select conversation_id, language from kore.contacts_as_of($1)")
                    .bind(moment)
                    .fetch_all(&site.pool)
                    .await
                    .expect("the past");
            for (id, language) in told {
                let then = held.get(&id).map(|version| format!("v{version}"));
                assert_eq!(Some(language), then, "{id} as of {moment}");
            }
        }
    }
}

/// One contact, and all that is known of the looks at it.
struct Seen<'a> {
    world: &'a World,
    contact: &'a Contact,
    looks: &'a [Look],
    aside: &'a [Option<String>],
    concludes_since: Option<Millis>,
}

impl Seen<'_> {
    fn judge(&self, held: Option<&Held>, rows: Option<&BTreeSet<String>>) {
        let Contact { id, start, .. } = self.contact;
        let covers = |look: &&Look| (look.from_at.timestamp_millis()..look.to_at.timestamp_millis()).contains(start);
        // The last of the verified looks at it.
        let look = self.looks.iter().filter(covers).max_by_key(|look| look.read_at);
        let shown = look
            .map(|look| look.read_at.timestamp_millis())
            .filter(|read_at| !self.world.may_deceive(*read_at))
            .map(|read_at| self.contact.listings_at(read_at));
        let is_aside = self.aside.iter().any(|aside| aside.as_ref() == Some(id));
        if let Some(held) = held {
            let listed = self.contact.listings_at(held.read_at.timestamp_millis());
            let version = held.version();
            assert!(
                listed.contains(&Listing::Well(version)),
                "{id} is held as version {version}, received when it was {listed:?}"
            );
            assert_eq!(rows, Some(&self.contact.rows(version)), "the rows of {id}, version {version}");
        }
        match shown.as_deref() {
            Some([Listing::Well(version)]) => {
                let held =
                    held.unwrap_or_else(|| panic!("{id} was seen by {look:?} and is not held: {:?}", self.contact));
                assert!(
                    held.version() >= *version,
                    "{id} was seen as version {version} and is held as {}",
                    held.version()
                );
                assert!(!held.is_removed, "{id} is there and called removed");
                let is_last = held.version() == *version;
                assert!(!(is_aside && is_last), "{id} reads well and is in quarantine");
            }
            Some([Listing::Malformed(_)]) => assert!(is_aside, "{id} could not be read and is not in quarantine"),
            Some([Listing::Absent]) => {
                if let (Some(held), Some(look)) = (held, look) {
                    self.judge_absence(held, look);
                }
            }
            _ => {}
        }
        if held.is_some_and(|held| held.is_removed) {
            // Evidence is a look that lacked it, or one that has another's place in the ledger since.
            let has_gone = self.contact.was_ever(|listing| listing == Listing::Absent);
            assert!(has_gone, "{id} never went and is called removed; last looked at {look:?}");
        }
    }

    /// A verified look lacked it: that counts where its range covers the one that brought the contact.
    fn judge_absence(&self, held: &Held, look: &Look) {
        let is_covered = look.requested_from <= held.requested_from && look.requested_to >= held.requested_to;
        let read_at = look.read_at.timestamp_millis();
        let is_known = self.concludes_since.is_some_and(|since| since < read_at);
        let is_later = held.read_at < look.read_at;
        // Nobody is called gone before the range was read once more, and that may have failed.
        let is_known = is_known && !self.world.is_troubled(read_at);
        // A record whose id cannot be read could be any; here all have one.
        if is_covered && is_known && is_later {
            assert!(
                held.is_removed,
                "{} was looked for at {} in vain and is not called removed",
                self.contact.id, look.read_at
            );
        }
    }
}
