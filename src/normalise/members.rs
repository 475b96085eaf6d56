//! One object of a record laid out by field, and where everything goes that has no column.

use std::collections::HashMap;
use std::fmt;

use super::fields::{Fields, WITHOUT_COLUMN};
use super::reading::{self, Reading};
use super::shape::shape;
use super::time;
use super::{Fault, FaultKind, UnknownField};
use crate::domain::Decimal;
use crate::domain::rows::Text;
use crate::json::{self, Value};
use chrono::{DateTime, Utc};

/// Bytes of an unknown field's path that are told: a key may be of any length, and an index takes few.
const MAX_UNKNOWN_PATH_BYTES: usize = 500;

/// A place in a record, as a chain towards its root; written out only when something is amiss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    above: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Path<'static> = Path { above: None, step: Step::Root };

    pub(super) fn key(&'p self, key: &'p str) -> Path<'p> {
        Path { above: Some(self), step: Step::Key(key) }
    }

    fn index(&'p self, index: usize) -> Path<'p> {
        Path { above: Some(self), step: Step::Index(index) }
    }

    fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }

    /// The path with `[]` for any index, by which faults and unknown fields are counted.
    pub(super) fn without_indices(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, false);
        out
    }

    fn write(&self, out: &mut impl fmt::Write, with_indices: bool) -> fmt::Result {
        if let Some(above) = self.above {
            above.write(out, with_indices)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) if with_indices => write!(out, "[{index}]"),
            Step::Index(_) => out.write_str("[]"),
            Step::Key(key) => {
                if self.above.is_some_and(|above| !above.is_root()) {
                    out.write_char('.')?;
                }
                out.write_str(key)
            }
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

/// What one record leaves beside its columns.
#[derive(Debug, Default)]
pub(super) struct Aside<'v, 'a> {
    extra: Vec<(String, &'v Value<'a>)>,
    pub(super) faults: Vec<Fault>,
    pub(super) unknown: Vec<UnknownField>,
}

/// How much was set aside at some moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    extra: usize,
    faults: usize,
    unknown: usize,
}

impl<'v, 'a> Aside<'v, 'a> {
    fn keep(&mut self, path: &Path<'_>, value: &'v Value<'a>) {
        self.extra.push((path.to_string(), value));
    }

    pub(super) fn fault(&mut self, path: &Path<'_>, value: &'v Value<'a>, kind: FaultKind) {
        self.keep(path, value);
        self.faults.push(Fault { path: path.without_indices(), kind, json_type: value.kind(), shape: shape(value) });
    }

    fn unknown(&mut self, path: &Path<'_>, value: &'v Value<'a>) {
        self.keep(path, value);
        let mut told = path.without_indices();
        told.truncate(told.floor_char_boundary(MAX_UNKNOWN_PATH_BYTES));
        self.unknown.push(UnknownField { path: told, json_type: value.kind(), shape: shape(value) });
    }

    fn mark(&self) -> Mark {
        Mark { extra: self.extra.len(), faults: self.faults.len(), unknown: self.unknown.len() }
    }

    /// Forgets what was set aside since: it is part of an element that is now set aside whole.
    fn forget_since(&mut self, mark: Mark) {
        self.extra.truncate(mark.extra);
        self.faults.truncate(mark.faults);
        self.unknown.truncate(mark.unknown);
    }

    /// One JSON object, path to value. A path that occurs again is numbered, so that jsonb keeps both.
    pub(super) fn extra(&self) -> Option<String> {
        if self.extra.is_empty() {
            return None;
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut out = String::from("{");
        for (i, (path, value)) in self.extra.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            let times = seen.entry(path).and_modify(|n| *n += 1).or_insert(1);
            let key = if *times == 1 { Text::Borrowed(&**path) } else { format!("{path} ({times})").into() };
            json::write(&Value::String(key), &mut out);
            out.push(':');
            json::write(value, &mut out);
        }
        out.push('}');
        Some(out)
    }
}

/// An object's members by field. What is no field of it is already set aside.
#[derive(Debug)]
pub(super) struct Members<'s, 'v, 'a, 'p, F, const N: usize> {
    slots: [Option<(&'static str, &'v Value<'a>)>; N],
    pub(super) path: Path<'p>,
    pub(super) aside: &'s mut Aside<'v, 'a>,
    fields: std::marker::PhantomData<F>,
}

impl<'s, 'v, 'a, 'p, F: Fields, const N: usize> Members<'s, 'v, 'a, 'p, F, N> {
    /// `None` when the value is not an object.
    pub(super) fn open(value: &'v Value<'a>, path: Path<'p>, aside: &'s mut Aside<'v, 'a>) -> Option<Self> {
        let Value::Object(members) = value else { return None };
        let mut slots: [Option<(&'static str, &'v Value<'a>)>; N] = [None; N];
        for (key, value) in members {
            let Some((field, spelling)) = F::of(key) else {
                let at = path.key(key);
                if path.is_root() && WITHOUT_COLUMN.contains(&&**key) {
                    aside.keep(&at, value);
                } else {
                    aside.unknown(&at, value);
                }
                continue;
            };
            let slot = &mut slots[field.slot()];
            match slot {
                Some((old, _)) if !field.replaces(spelling, old) => aside.keep(&path.key(spelling), value),
                _ => {
                    if let Some((old, loser)) = slot.replace((spelling, value)) {
                        aside.keep(&path.key(old), loser);
                    }
                }
            }
        }
        Some(Self { slots, path, aside, fields: std::marker::PhantomData })
    }

    pub(super) fn get(&self, field: F) -> Option<&'v Value<'a>> {
        self.slots[field.slot()].map(|(_, value)| value)
    }

    pub(super) fn take(&mut self, field: F) -> Option<(&'static str, &'v Value<'a>)> {
        self.slots[field.slot()].take()
    }

    /// Reads a field; what has no reading is set aside and counted.
    pub(super) fn read<T>(&mut self, field: F, reading: impl FnOnce(&'v Value<'a>) -> Reading<T>) -> Option<T> {
        let (key, value) = self.take(field)?;
        reading(value).unwrap_or_else(|kind| {
            self.aside.fault(&self.path.key(key), value, kind);
            None
        })
    }

    pub(super) fn text(&mut self, field: F) -> Option<Text<'a>> {
        self.read(field, reading::text)
    }

    pub(super) fn key_text(&mut self, field: F) -> Option<Text<'a>> {
        self.read(field, reading::key_text)
    }

    pub(super) fn decimal(&mut self, field: F) -> Option<Decimal> {
        self.read(field, reading::decimal)
    }

    pub(super) fn integer<T: TryFrom<i64>>(&mut self, field: F) -> Option<T> {
        self.read(field, reading::integer)
    }

    pub(super) fn milliseconds(&mut self, field: F) -> Option<i64> {
        self.read(field, reading::milliseconds)
    }

    pub(super) fn boolean(&mut self, field: F) -> Option<bool> {
        self.read(field, reading::boolean)
    }

    pub(super) fn time(&mut self, field: F) -> Option<DateTime<Utc>> {
        self.read(field, time::time)
    }

    /// The object in a field; anything else that says something is set aside and counted.
    pub(super) fn object(&mut self, field: F) -> Option<(&'static str, &'v Value<'a>)> {
        let (key, value) = self.take(field)?;
        match value {
            Value::Object(_) => return Some((key, value)),
            _ if reading::says_nothing(value) => {}
            _ => self.aside.fault(&self.path.key(key), value, FaultKind::NotAnObject),
        }
        None
    }

    /// The list in a field; a single value is a list of one, what says nothing is `None`.
    fn list(&mut self, field: F) -> Option<(&'static str, &'v [Value<'a>])> {
        let (key, value) = self.take(field)?;
        match value {
            Value::Array(elements) => Some((key, elements)),
            _ if reading::says_nothing(value) => None,
            _ => Some((key, std::slice::from_ref(value))),
        }
    }

    /// The rows of a list, each with its place from 1. An element that says nothing has no row; one
    /// that cannot be a row is set aside whole and counted. `None` when there is no list.
    pub(super) fn rows<T>(
        &mut self,
        field: F,
        mut row: impl FnMut(i16, &'v Value<'a>, Path<'_>, &mut Aside<'v, 'a>) -> Reading<T>,
    ) -> Option<Vec<T>> {
        let (key, elements) = self.list(field)?;
        let list = self.path.key(key);
        let mut rows = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            if reading::says_nothing(element) {
                continue;
            }
            let path = list.index(i);
            let mark = self.aside.mark();
            let read = match i16::try_from(i + 1) {
                Ok(ordinal) => row(ordinal, element, path, self.aside),
                Err(_) => Err(FaultKind::TooMany),
            };
            match read {
                Ok(read) => rows.extend(read),
                Err(kind) => {
                    self.aside.forget_since(mark);
                    self.aside.fault(&path, element, kind);
                }
            }
        }
        Some(rows)
    }

    /// The elements of a list of single values, each at its place; what has no reading is `None`,
    /// set aside and counted.
    pub(super) fn places<T>(&mut self, field: F, reading: impl Fn(&'v Value<'a>) -> Reading<T>) -> Vec<Option<T>> {
        let Some((key, elements)) = self.list(field) else { return Vec::new() };
        let list = self.path.key(key);
        let mut places = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let read = if i < i16::MAX.unsigned_abs().into() { reading(element) } else { Err(FaultKind::TooMany) };
            places.push(read.unwrap_or_else(|kind| {
                self.aside.fault(&list.index(i), element, kind);
                None
            }));
        }
        places
    }

    /// Sets aside a field whose column another one has taken.
    pub(super) fn keep(&mut self, field: F) {
        if let Some((key, value)) = self.take(field) {
            self.aside.keep(&self.path.key(key), value);
        }
    }

    /// Sets aside, as unknown, a field that means nothing where it stands.
    pub(super) fn disown(&mut self, field: F) {
        if let Some((key, value)) = self.take(field) {
            self.aside.unknown(&self.path.key(key), value);
        }
    }
}
