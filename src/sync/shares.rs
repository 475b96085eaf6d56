//! What all streams share, so that one which is slow or fails leaves the others what they need.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::warehouse::budget::Turn;

/// How many permits there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portions {
    /// For all streams together.
    pub common: usize,
    /// What a stream leaves to the others of its account, and the streams of an account together leave to other accounts.
    pub left: usize,
    /// Beside them, for what comes first of each stream: its live windows, which wait for no backfill.
    pub first: usize,
}

/// What one of so many may have: whoever is alone leaves nothing, and nobody is left without any.
pub(super) fn part(whole: usize, left: usize, of: usize) -> usize {
    if of > 1 { whole.saturating_sub(left).max(1) } else { whole }
}

/// Permits for windows' memory or for pages on their way.
#[derive(Debug)]
pub(super) struct Shares {
    common: Arc<Semaphore>,
    streams: BTreeMap<String, Share>,
}

#[derive(Debug)]
struct Share {
    /// What this stream may still take of the common part.
    most: Arc<Semaphore>,
    /// What all streams of its account may, since they wait for one limit together.
    account: Arc<Semaphore>,
    first: Arc<Semaphore>,
    first_size: usize,
}

/// Permits taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken(#[expect(dead_code, reason = "held, never read")] Vec<OwnedSemaphorePermit>);

impl Shares {
    /// For these streams, each with its account.
    pub(super) fn new<'s>(streams: impl ExactSizeIterator<Item = (&'s str, &'s str)>, portions: Portions) -> Self {
        let common = portions.common.max(1);
        let mut of_account: BTreeMap<&str, usize> = BTreeMap::new();
        let streams: Vec<(&str, &str)> = streams.collect();
        for (_, account) in &streams {
            *of_account.entry(account).or_default() += 1;
        }
        let of_one = part(common, portions.left, of_account.len());
        let accounts: BTreeMap<&str, Arc<Semaphore>> =
            of_account.keys().map(|&account| (account, Arc::new(Semaphore::new(of_one)))).collect();
        let share = |&(stream, account): &(&str, &str)| {
            let share = Share {
                most: Arc::new(Semaphore::new(part(of_one, portions.left, *of_account.get(account)?))),
                account: Arc::clone(accounts.get(account)?),
                first: Arc::new(Semaphore::new(portions.first)),
                first_size: portions.first,
            };
            Some((stream.to_owned(), share))
        };
        Self { common: Arc::new(Semaphore::new(common)), streams: streams.iter().filter_map(share).collect() }
    }

    /// Waits for so many permits; what comes first takes those that are kept for it, or common ones, whichever are free sooner.
    /// `None` for a stream that is not known.
    pub(super) async fn take(&self, stream: &str, turn: Turn, count: usize) -> Option<Taken> {
        let share = self.streams.get(stream)?;
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        let common = async {
            let most = Arc::clone(&share.most).acquire_many_owned(permits).await.ok()?;
            let account = Arc::clone(&share.account).acquire_many_owned(permits).await.ok()?;
            let common = Arc::clone(&self.common).acquire_many_owned(permits).await.ok()?;
            Some(Taken(vec![most, account, common]))
        };
        if turn == Turn::Later || count > share.first_size {
            return common.await;
        }
        let first = Arc::clone(&share.first).acquire_many_owned(permits);
        tokio::select! {
            biased;
            first = first => Some(Taken(vec![first.ok()?])),
            common = common => common,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PORTIONS: Portions = Portions { common: 6, left: 1, first: 1 };

    fn shares() -> Shares {
        Shares::new([("slow", "one"), ("quick", "one"), ("large", "one")].into_iter(), PORTIONS)
    }

    fn at_once(shares: &Shares, stream: &str, turn: Turn, count: usize) -> Option<Taken> {
        shares.take(stream, turn, count).now_or_never().flatten()
    }

    fn all(shares: &Shares, stream: &str, turn: Turn) -> Vec<Taken> {
        std::iter::from_fn(|| at_once(shares, stream, turn, 1)).collect()
    }

    #[test]
    fn one_stream_leaves_something_to_the_others() {
        let shares = shares();
        let slow = all(&shares, "slow", Turn::Later);
        assert_eq!(slow.len(), 5, "of six");
        assert_eq!(all(&shares, "quick", Turn::Later).len(), 1, "the last");
        assert!(at_once(&shares, "large", Turn::Later, 2).is_none());
        drop(slow);
        assert!(at_once(&shares, "large", Turn::Later, 5).is_some());
    }

    #[test]
    fn what_comes_first_finds_its_own_however_much_waits() {
        let shares = shares();
        let taken = ["slow", "quick"].map(|stream| all(&shares, stream, Turn::Later));
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 6);
        for stream in ["slow", "quick", "large"] {
            assert_eq!(all(&shares, stream, Turn::First).len(), 1, "{stream}");
        }
    }

    #[test]
    fn streams_of_one_account_leave_something_to_other_accounts() {
        let shares =
            Shares::new([("slow", "starved"), ("slower", "starved"), ("quick", "other")].into_iter(), PORTIONS);
        let starved = ["slow", "slower"].map(|stream| all(&shares, stream, Turn::Later));
        assert_eq!(
            starved.each_ref().map(Vec::len),
            [4, 1],
            "of six: one for the other stream, one for the other account"
        );
        assert_eq!(all(&shares, "quick", Turn::Later).len(), 1, "the last");
        drop(starved);
        assert_eq!(all(&shares, "quick", Turn::Later).len(), 5);
    }

    #[test]
    fn a_single_stream_may_have_everything() {
        let shares = Shares::new([("only", "one")].into_iter(), PORTIONS);
        let later = all(&shares, "only", Turn::Later);
        let first = all(&shares, "only", Turn::First);
        assert_eq!((later.len(), first.len()), (6, 1));
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back_first() {
        let shares = shares();
        let (first, _taken) = (at_once(&shares, "slow", Turn::First, 1), all(&shares, "slow", Turn::Later));
        let _rest = all(&shares, "quick", Turn::Later);
        let waiting = shares.take("slow", Turn::First, 1);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.await.is_some());
    }
}
