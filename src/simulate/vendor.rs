//! The vendor's knowledge of one stream: every contact, made anew from its index whenever asked.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::contact::{
    Agent, AgentPart, Contact, Emotion, Intent, Justification, MetricResult, Number, Queue, SpeakingRate, Topic,
};
use super::dice::{Dice, key_of, keyed, mix};
use super::lifecycle::{Life, Malformation, Shares};
use super::options::Options;
use super::population::{DAY, Population, Shape};
use super::vocabulary as words;

/// How many agents work on a stream; the last has no id.
const AGENTS: u64 = 50;

#[derive(Debug, Clone)]
pub struct Vendor {
    key: u64,
    appear_after: i64,
    /// Spread evenly on top of it.
    appear_within: i64,
    pub population: Population,
}

/// What is written down of a contact besides what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Decides spellings and shapes.
    pub key: u64,
    pub is_drifted: bool,
    pub malformation: Option<Malformation>,
}

impl Vendor {
    pub fn new(seed: u64, stream_id: &str, appear_after: i64, population: impl FnOnce(u64) -> Population) -> Self {
        let key = keyed(seed, &[key_of(stream_id)]);
        Self { key, appear_after, appear_within: 0, population: population(key) }
    }

    /// A stream of the vendor that the options describe, whose population ends at `end`.
    pub fn of(options: &Options, end: DateTime<Utc>, stream_id: &str) -> Self {
        let end = end.timestamp_millis();
        let begin = end - i64::from(options.days.max(1)) * DAY;
        let empty_from = begin + i64::from(options.empty_after_days) * DAY;
        let empty = (options.empty_days > 0).then(|| (empty_from, empty_from + i64::from(options.empty_days) * DAY));
        let shape = Shape { quiet_nights: options.quiet_nights, empty };
        let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
        let vendor = Self::new(options.seed, stream_id, ms(options.appear_after), |key| {
            Population::new(key, options.contacts, begin, end, shape, !options.still)
        });
        Self { appear_within: ms(options.appear_within), ..vendor }
    }

    fn contact_key(&self, index: u64) -> u64 {
        keyed(self.key, &[1, index])
    }

    pub fn life(&self, index: u64, shares: &Shares) -> Life {
        let key = self.contact_key(index);
        let spread = if self.appear_within > 0 { Dice::new(key, &[0xa99]).between(0, self.appear_within) } else { 0 };
        Life::of(key, self.population.start(index), self.appear_after + spread, shares)
    }

    /// The contacts that start in `[from, to)`, listed or not.
    pub fn indices(&self, from: i64, to: i64) -> Range<u64> {
        self.population.indices(from, to)
    }

    /// A place in an order that has nothing to do with time.
    pub fn order_by_id(&self, index: u64) -> u64 {
        // A bijection of the index, so that no two ids are the same.
        mix(index ^ self.key)
    }

    pub fn manner(&self, index: u64, life: &Life) -> Manner {
        Manner {
            key: keyed(self.contact_key(index), &[2]),
            is_drifted: life.is_drifted,
            malformation: life.malformation,
        }
    }

    /// The contact as it is at `now`; as the vendor knew it earlier, without an evaluation, when `is_older`.
    pub fn contact(&self, index: u64, life: &Life, now: i64, is_older: bool) -> Contact {
        let key = self.contact_key(index);
        let is_scored = life.is_scored(now) && !life.is_below_threshold && !is_older;
        let version = if is_older { 0 } else { life.version(now) };
        let mut maker = Maker {
            vendor: self,
            key,
            start: life.start,
            end: if is_older { life.start + (life.end - life.start) / 2 } else { life.end },
            is_voice: mix(key).is_multiple_of(2),
            is_scored,
            is_below: life.is_below_threshold,
            version,
        };
        let mut contact = maker.contact(self.order_by_id(index));
        if let Some(malformation) = life.malformation {
            spoil(&mut contact, malformation);
        }
        contact
    }

    fn agent(&self, number: u64, at: i64) -> Agent {
        let mut dice = Dice::new(self.key, &[3, number]);
        let first = *dice.pick(words::FIRST_NAMES);
        let id = format!("a-{:08x}-{:04x}-4{:03x}", dice.below(1 << 32), number, dice.below(1 << 12));
        let has_id = number + 1 < AGENTS;
        // Some agents marry: from a moment on they go by another last name.
        let renamed_at = self.population.moment_of_share(dice.between(20, 80), 100);
        let is_renamed = has_id && number % 10 == 3 && at >= renamed_at;
        let (last, married) = (*dice.pick(words::LAST_NAMES), *dice.pick(words::LAST_NAMES));
        let name = if is_renamed { format!("{first} {married}-{last}") } else { format!("{first} {last}") };
        let email = (number % 12 != 5 || !has_id).then(|| format!("agent.{number}@example.com"));
        Agent { id: has_id.then_some(id), name, email }
    }

    fn queue(&self, number: usize, at: i64) -> Queue {
        let mut dice = Dice::new(self.key, &[4, number as u64]);
        let id = format!("qu-{:08x}-{:04x}", dice.below(1 << 32), dice.below(1 << 16));
        let is_renamed = number == 1 && at >= self.population.moment_of_share(1, 2);
        let name = words::QUEUES[number].to_owned() + if is_renamed { " (new)" } else { "" };
        Queue { id: (number != 7).then_some(id), name }
    }

    /// Id and name of a metric. Some have no id, and two names share one.
    fn metric(&self, number: usize) -> (Option<String>, String) {
        let name = words::METRICS[number].to_owned();
        let id_of = if number == 12 { 11 } else { number };
        let mut dice = Dice::new(self.key, &[5, id_of as u64]);
        let id = format!("em-{:08x}-{:04x}-557b", dice.below(1 << 32), dice.below(1 << 16));
        ((number % 9 != 7).then_some(id), name)
    }
}

/// What a mirror should hold of a record that is spoiled in this way.
fn spoil(contact: &mut Contact, malformation: Malformation) {
    match malformation {
        Malformation::NoId | Malformation::BadStart => {}
        Malformation::NotANumber => contact.sentiment_score = None,
        Malformation::HugeNumber => contact.pass_score = None,
        Malformation::LoneSurrogate => contact.custom_conversation_id = Some("left\u{fffd}right".to_owned()),
        Malformation::NulCharacter => contact.language = Some("English".to_owned()),
        Malformation::ImpossibleDate => contact.ended_at = None,
        Malformation::ObjectForScalar => contact.sentiment = None,
        Malformation::OutOfRange => contact.fatal_error_count = None,
    }
}

struct Maker<'a> {
    vendor: &'a Vendor,
    key: u64,
    start: i64,
    end: i64,
    is_voice: bool,
    is_scored: bool,
    is_below: bool,
    version: u64,
}

impl Maker<'_> {
    /// Dice of a part of the contact that never changes.
    fn fixed(&self, part: u64) -> Dice {
        Dice::new(self.key, &[6, part])
    }

    /// Dice of a part that each version of the contact throws anew.
    fn versioned(&self, part: u64) -> Dice {
        Dice::new(self.key, &[7, part, self.version])
    }

    fn contact(&mut self, id: u64) -> Contact {
        let mut fixed = self.fixed(1);
        let mut versioned = self.versioned(1);
        let duration_unknown = fixed.percent(3);
        let score = self.score(&mut versioned, duration_unknown);
        let pass_score = Some(Number::whole(*fixed.pick(&[40, 50, 75, 80])));
        let (form_name, scoring_type) = *fixed.pick(words::FORMS);
        let has_form = fixed.percent(95);
        let has_scoring_type = fixed.percent(97);
        let is_audited = self.is_scored && versioned.percent(8 + 40 * self.version.min(1));
        let (customer_talk, agent_talk) = (fixed.between(0, 5000), fixed.between(0, 5000));
        let is_talk_measured = self.is_voice && fixed.percent(90);
        let topics = if self.is_scored { self.topics() } else { Vec::new() };
        let topic_count: usize =
            topics.iter().map(|t| 1 + t.below.len() + t.below.iter().map(|b| b.below.len()).sum::<usize>()).sum();
        let positive = fixed.between(0, 100);
        let neutral = fixed.between(0, 100 - positive);
        let metrics = self.metrics();
        let tail = keyed(self.key, &[8]) & 0xffff_ffff_ffff;
        let sentiment =
            |dice: &mut Dice, percent| dice.percent(percent).then(|| (*dice.pick(words::SENTIMENTS)).to_owned());
        Contact {
            conversation_id: format!(
                "c-{:08x}-{:04x}-{:04x}-{:012x}",
                id >> 32,
                (id >> 16) & 0xffff,
                id & 0xffff,
                tail
            ),
            custom_conversation_id: fixed.percent(30).then(|| match fixed.below(3) {
                0 => fixed.between(1_000_000, 9_999_999).to_string(),
                1 => format!("crm/{}#{}", fixed.below(9_000), fixed.below(99)),
                _ => format!("тикет-{}", fixed.below(90_000)),
            }),
            source: fixed.percent(97).then(|| if self.is_voice { "korevg" } else { "rtm" }.to_owned()),
            channel: fixed.percent(80).then(|| if self.is_voice { "voice" } else { "chat" }.to_owned()),
            direction: fixed.percent(60).then(|| if fixed.percent(70) { "inbound" } else { "outbound" }.to_owned()),
            started_at: self.start,
            ended_at: Some(self.end),
            duration_ms: (!duration_unknown).then_some(self.end - self.start),
            language: fixed.percent(96).then(|| (*fixed.pick(words::LANGUAGES)).to_owned()),
            duration_status: if self.is_below {
                Some("below_threshold".to_owned())
            } else if duration_unknown {
                Some("duration_unavailable".to_owned())
            } else {
                (self.is_scored && fixed.percent(95)).then(|| "evaluated".to_owned())
            },
            sentiment: sentiment(&mut fixed, 70),
            sentiment_score: (!self.is_below && fixed.percent(85))
                .then(|| Number::with_places(fixed.between(-1000, 1000), 2)),
            sentiment_start: sentiment(&mut fixed, 95),
            sentiment_end: sentiment(&mut fixed, 90),
            sentiment_ratio: (!self.is_below && fixed.percent(90))
                .then(|| [Number::whole(positive), Number::whole(neutral), Number::whole(100 - positive - neutral)]),
            evaluation_score: score,
            form_name: has_form.then(|| form_name.to_owned()),
            scoring_type: (has_form && has_scoring_type).then(|| scoring_type.to_owned()),
            pass_score,
            is_passed: score.map(|score| score.at_least(50)),
            fatal_error_count: fixed.percent(96).then(|| if fixed.percent(90) { 0 } else { fixed.between(1, 4) }),
            is_churn_risk: fixed.percent(98).then(|| versioned.percent(7)),
            is_escalation: fixed.percent(98).then(|| versioned.percent(5)),
            taxonomy_resolution: versioned
                .percent(60)
                .then(|| (*versioned.pick(&["YES", "YES", "NO", "false", "true"])).to_owned()),
            customer_talk_pct: is_talk_measured.then(|| Number::with_places(customer_talk, 2)),
            agent_talk_pct: is_talk_measured.then(|| Number::with_places(agent_talk, 2)),
            silence_pct: is_talk_measured.then(|| Number::with_places(10_000 - customer_talk - agent_talk, 2)),
            total_topics_identified: i64::try_from(topic_count).ok().filter(|count| *count > 0),
            audit_status: is_audited.then(|| (*versioned.pick(words::AUDIT_STATES)).to_owned()),
            audit_score: (is_audited && versioned.percent(80)).then(|| Number::whole(versioned.between(-100, 100))),
            audited_at: (is_audited && versioned.percent(90))
                .then(|| self.end + versioned.between(3_600_000, 90_000_000)),
            auditor_name: is_audited.then(|| format!("Auditor {}", versioned.below(9))),
            custom_fields: fixed.percent(25).then(|| self.custom_fields()),
            agents: self.agents(),
            queues: self.queues(),
            metrics,
            emotions: self.labels(2, if self.is_below { 0 } else { 3 }),
            customer_emotions: self.emotions(3),
            agent_emotions: self.emotions(4),
            speaking_rates: if self.is_voice { self.speaking_rates() } else { Vec::new() },
            intents: if self.is_scored { self.intents() } else { Vec::new() },
            topics,
            recordings: if self.is_voice && fixed.percent(30) {
                vec![format!("https://recordings.example.com/{:016x}.wav", fixed.throw())]
            } else {
                Vec::new()
            },
        }
    }

    fn score(&self, dice: &mut Dice, duration_unknown: bool) -> Option<Number> {
        if !self.is_scored || duration_unknown || dice.percent(3) {
            return None;
        }
        Some(match dice.below(10) {
            0 => Number::whole(dice.between(-100, -1)),
            1..=3 => Number::with_places(dice.between(0, 10_000), 2),
            _ => Number::whole(dice.between(0, 100)),
        })
    }

    fn custom_fields(&self) -> Vec<(String, String)> {
        let mut dice = self.fixed(9);
        let count = dice.length(1, 4);
        let mut names: Vec<&str> = (0..count).map(|_| *dice.pick(words::CUSTOM_FIELDS)).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| (name.to_owned(), format!("{} {}", dice.pick(words::KEYWORDS), dice.below(100))))
            .collect()
    }

    fn agents(&self) -> Vec<AgentPart> {
        let mut dice = self.fixed(10);
        let count = if dice.percent(4) {
            0
        } else if dice.percent(80) {
            1
        } else {
            dice.length(2, 3)
        };
        let first = dice.below(AGENTS);
        (0..count as u64)
            .map(|place| AgentPart {
                agent: self.vendor.agent((first + place * 7) % AGENTS, self.start),
                started_at: dice.percent(97).then(|| self.start + dice.between(1_000, 60_000)),
                crutch_word_score: (self.is_scored && dice.percent(60))
                    .then(|| Number::with_places(dice.between(0, 1000), 1)),
                empathy_score: (self.is_scored && dice.percent(60))
                    .then(|| Number::with_places(dice.between(0, 1000), 1)),
            })
            .collect()
    }

    fn queues(&self) -> Vec<Queue> {
        let mut dice = self.fixed(11);
        let count = *dice.pick(&[0, 1, 1, 1, 1, 1, 2, 3]);
        let first = dice.length(0, 7);
        (0..count).map(|place| self.vendor.queue((first + place * 3) % words::QUEUES.len(), self.start)).collect()
    }

    fn metrics(&self) -> Vec<MetricResult> {
        let mut dice = self.fixed(12);
        let mut versioned = self.versioned(12);
        let count = dice.length(8, 16);
        let first = dice.length(0, 21);
        (0..count)
            .map(|place| {
                let (id, name) = self.vendor.metric((first + place) % words::METRICS.len());
                let weight = dice.between(0, 40);
                let qualification = self
                    .is_scored
                    .then(|| *versioned.pick(&[Some("YES"), Some("YES"), Some("NO"), Some("NO"), Some("NA"), None]))
                    .flatten();
                let is_told = qualification.is_some_and(|q| q != "NA");
                MetricResult {
                    id,
                    name,
                    weight: dice.percent(97).then(|| Number::whole(weight)),
                    negative_weight: dice.percent(90).then(|| Number::with_places(weight * 10 - 5, 1)),
                    qualification: qualification.map(str::to_owned),
                    is_fatal_error: dice.percent(98).then(|| dice.percent(5)),
                    auditor_response: (self.is_scored && versioned.percent(5)).then(|| "NO".to_owned()),
                    triggers: self.entries(&mut versioned, if is_told { 25 } else { 0 }, 1),
                    justifications: self.entries(&mut versioned, if is_told { 85 } else { 0 }, 3),
                }
            })
            .collect()
    }

    fn entries(&self, dice: &mut Dice, percent: u64, most: i64) -> Vec<Justification> {
        if !dice.percent(percent) {
            return Vec::new();
        }
        let count = if dice.percent(75) { 1 } else { dice.length(1, most) };
        (0..count).map(|_| self.entry(dice)).collect()
    }

    fn entry(&self, dice: &mut Dice) -> Justification {
        let sentences = dice.length(1, 3);
        let text = (0..sentences).map(|_| *dice.pick(words::SENTENCES)).collect::<Vec<_>>().join(" ");
        if dice.percent(10) {
            return Justification {
                text: dice.percent(70).then_some(text),
                source_system_value: dice.percent(90).then(|| format!("{}.{:02} €", dice.below(500), dice.below(100))),
                agent_mentioned_value: dice.percent(90).then(|| format!("{} %", dice.below(100))),
                agent_entity: dice.percent(90).then(|| (*dice.pick(words::ENTITIES)).to_owned()),
                ..Justification::default()
            };
        }
        let messages = *dice.pick(&[0, 1, 1, 1, 2, 3]);
        // Now and then the vendor forgets the time of the last message.
        let times = if messages > 0 && dice.percent(5) { messages - 1 } else { messages };
        Justification {
            text: Some(text),
            message_ids: (0..messages)
                .map(|_| format!("ms-{:016x}-{:04x}", dice.throw(), dice.below(1 << 16)))
                .collect(),
            message_times: (0..times).map(|_| self.start + dice.between(0, self.end - self.start)).collect(),
            ..Justification::default()
        }
    }

    fn labels(&self, part: u64, most: i64) -> Vec<String> {
        let mut dice = self.fixed(part);
        let count = dice.length(0, most);
        (0..count).map(|_| (*dice.pick(words::EMOTIONS)).to_owned()).collect()
    }

    fn emotions(&self, part: u64) -> Vec<Emotion> {
        let mut dice = self.fixed(20 + part);
        self.labels(part, if self.is_below { 0 } else { 4 })
            .into_iter()
            .map(|label| Emotion {
                label,
                duration_ms: dice.percent(95).then(|| Number::whole(dice.between(0, 60_000))),
                proportion_pct: dice.percent(95).then(|| Number::with_places(dice.between(0, 10_000), 2)),
            })
            .collect()
    }

    fn speaking_rates(&self) -> Vec<SpeakingRate> {
        let mut dice = self.fixed(30);
        let count = dice.length(0, 6);
        (0..count)
            .map(|_| {
                let offset = dice.between(0, self.end - self.start);
                SpeakingRate {
                    speaker: Some(if dice.percent(60) { "agent" } else { "customer" }.to_owned()),
                    source_id: dice.percent(95).then(|| format!("u-{:08x}", dice.below(1 << 32))),
                    message_id: dice.percent(95).then(|| format!("ms-{:016x}", dice.throw())),
                    message_at: dice.percent(95).then_some(self.start + offset),
                    start_offset_ms: dice.percent(95).then_some(offset),
                    word_count: dice.percent(98).then(|| dice.between(0, 90)),
                    time_taken_seconds: dice.percent(98).then(|| Number::with_places(dice.between(1, 60_000), 3)),
                    words_per_minute: dice.percent(98).then(|| Number::with_places(dice.between(0, 30_000), 2)),
                    score: dice.percent(90).then(|| Number::whole(dice.between(0, 10))),
                }
            })
            .collect()
    }

    fn intents(&self) -> Vec<Intent> {
        let mut dice = self.versioned(31);
        let count = dice.length(0, 3);
        // One edition of the vendor speaks of topics, the others of intents.
        let are_topics = dice.percent(10);
        (0..count)
            .map(|_| {
                let words_of = (*dice.pick(words::INTENTS)).to_owned();
                let keywords = dice.length(0, 4);
                let emotions = dice.length(0, 2);
                Intent {
                    words: (!are_topics).then(|| words_of.clone()),
                    topic: (are_topics || dice.percent(10)).then_some(words_of),
                    sentiment: dice.percent(90).then(|| (*dice.pick(words::SENTIMENTS)).to_owned()),
                    sentiment_score: dice.percent(90).then(|| Number::with_places(dice.between(-100, 100), 1)),
                    emotions: dice
                        .percent(85)
                        .then(|| (0..emotions).map(|_| (*dice.pick(words::EMOTIONS)).to_owned()).collect()),
                    keywords: (0..keywords).map(|_| (*dice.pick(words::KEYWORDS)).to_owned()).collect(),
                }
            })
            .collect()
    }

    fn topics(&self) -> Vec<Topic> {
        let mut dice = self.versioned(32);
        if dice.percent(10) {
            return Vec::new();
        }
        let confidence = |dice: &mut Dice| dice.percent(95).then(|| Number::with_places(dice.between(0, 1000), 3));
        let (first, count) = (dice.length(0, 9), dice.length(1, 3));
        (0..count)
            .map(|place| {
                let below = dice.length(0, 2);
                Topic {
                    name: words::TOPICS[(first + place) % words::TOPICS.len()].to_owned(),
                    confidence_score: confidence(&mut dice),
                    sentiment_score: None,
                    is_resolved: None,
                    below: (0..below)
                        .map(|_| {
                            let below = dice.length(0, 3);
                            Topic {
                                name: (*dice.pick(words::SUBTOPICS)).to_owned(),
                                confidence_score: confidence(&mut dice),
                                sentiment_score: None,
                                is_resolved: None,
                                below: (0..below)
                                    .map(|_| Topic {
                                        name: (*dice.pick(words::DETAILS)).to_owned(),
                                        confidence_score: confidence(&mut dice),
                                        sentiment_score: dice.percent(80).then(|| Number::whole(dice.between(-10, 10))),
                                        is_resolved: dice.percent(80).then(|| dice.percent(60)),
                                        below: Vec::new(),
                                    })
                                    .collect(),
                            }
                        })
                        .collect(),
                }
            })
            .collect()
    }
}
