//! Finds the rows of a page. No list of contacts is kept: the range is walked over for each request.

use super::dice::mix;
use super::lifecycle::{LONGEST, Life, Shares};
use super::options::{Filter, Order, TotalCounts};
use super::render;
use super::vendor::Vendor;

/// One element of the vendor's list; a contact with a repeated id has two.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    index: u64,
    life: Life,
    is_older: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct PageOf {
    /// `[from, to)` in milliseconds since the epoch.
    pub range: (i64, i64),
    pub skipped: u64,
    pub length: u64,
    pub includes_below_threshold: bool,
    pub order: Order,
    pub filter: Filter,
    pub total_counts: TotalCounts,
    pub now: i64,
    /// The place of an element that is not there at this moment.
    pub hidden: Option<u64>,
}

#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Listed>,
    /// What the vendor says the total is.
    pub total: u64,
    /// How many rows there are.
    pub rows_in_all: u64,
}

impl PageOf {
    pub fn find(&self, vendor: &Vendor, shares: &Shares) -> Page {
        let mut page = Page { rows: Vec::new(), total: 0, rows_in_all: 0 };
        let mut excluded = 0;
        let mut seen = 0;
        let mut place = |listed: Listed| {
            seen += 1;
            if self.hidden == Some(seen - 1) {
                return;
            }
            if (self.skipped..self.skipped.saturating_add(self.length)).contains(&page.rows_in_all) {
                page.rows.push(listed);
            }
            page.rows_in_all += 1;
        };
        let (from, to) = self.range;
        let indices = match self.filter {
            Filter::Start => vendor.indices(from, to),
            Filter::End => vendor.indices(from - LONGEST, to),
        };
        let listed = |index: u64| {
            let life = vendor.life(index, shares);
            let is_within = self.filter == Filter::Start || (from <= life.end && life.end < to);
            (is_within && life.is_listed(self.now)).then_some(life)
        };
        let mut visit = |index: u64, life: Life, place: &mut dyn FnMut(Listed)| {
            if life.is_below_threshold && !self.includes_below_threshold {
                excluded += 1 + u64::from(life.is_repeated);
                return;
            }
            if life.is_repeated {
                place(Listed { index, life, is_older: true });
            }
            place(Listed { index, life, is_older: false });
        };
        match self.order {
            Order::Asc => indices.for_each(|i| {
                if let Some(life) = listed(i) {
                    visit(i, life, &mut place);
                }
            }),
            Order::Desc => indices.rev().for_each(|i| {
                if let Some(life) = listed(i) {
                    visit(i, life, &mut place);
                }
            }),
            Order::ById => {
                let mut keys = Vec::new();
                for index in indices {
                    if let Some(life) = listed(index) {
                        let key = vendor.order_by_id(index);
                        visit(index, life, &mut |one| {
                            keys.push((if one.is_older { mix(key) } else { key }, index, one.is_older));
                        });
                    }
                }
                keys.sort_unstable();
                for (_, index, is_older) in keys {
                    place(Listed { index, life: vendor.life(index, shares), is_older });
                }
            }
        }
        page.total = match self.total_counts {
            TotalCounts::Rows => page.rows_in_all,
            TotalCounts::Everything => page.rows_in_all + excluded,
            TotalCounts::Inflated => page.rows_in_all + page.rows_in_all / 10 + 1,
        };
        page
    }
}

impl Listed {
    pub fn record(&self, vendor: &Vendor, now: i64) -> String {
        let contact = vendor.contact(self.index, &self.life, now, self.is_older);
        render::record(&contact, vendor.manner(self.index, &self.life))
    }
}
