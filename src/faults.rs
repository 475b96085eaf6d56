//! What tests do to the program on purpose: they kill it at named points or let it fail there, and plant defects.
//! Without the feature `faults`, that is in every build but theirs, all of it is nothing.
//!
//! `FAILPOINTS="before_commit=2*off->return(kill)"` in the environment kills the process when it crosses that point
//! for the third time, as SIGKILL would: nothing is flushed, nothing is given back. `return(error)` fails
//! there as a broken connection does. `KORESYNC_DEFECT=fence_not_checked` plants a defect.

#[cfg(feature = "faults")]
mod planted;

#[cfg(feature = "faults")]
pub use planted::{arm, cross, is_planted};

/// A moment at which a death would part what belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// A window is claimed, nothing is asked for yet.
    Claimed,
    /// A page came and is taken in.
    PageRead,
    /// The window's transaction is open, nothing is written.
    BeforeCopy,
    /// Some tables have their rows, others have not.
    BetweenTables,
    /// Everything but the watermark is written.
    BeforeWatermark,
    AfterWatermark,
    BeforeCommit,
    /// The COMMIT is done; nobody has seen its answer.
    Committed,
    /// A backfill's windows are planned, how far down it is planned is not noted.
    BackfillPlanning,
    BackfillPlanned,
    /// Rows are rebuilt, how far it is is not noted.
    RebuildWritten,
    RebuildCommitted,
    /// Between two migrations.
    Migrating,
}

impl Point {
    /// Those in the life of a window, in order.
    pub const OF_A_WINDOW: [Self; 8] = [
        Self::Claimed,
        Self::PageRead,
        Self::BeforeCopy,
        Self::BetweenTables,
        Self::BeforeWatermark,
        Self::AfterWatermark,
        Self::BeforeCommit,
        Self::Committed,
    ];

    pub const OF_A_BACKFILL: [Self; 2] = [Self::BackfillPlanning, Self::BackfillPlanned];

    pub const OF_A_REBUILD: [Self; 2] = [Self::RebuildWritten, Self::RebuildCommitted];

    /// Its name in `FAILPOINTS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::PageRead => "page_read",
            Self::BeforeCopy => "before_copy",
            Self::BetweenTables => "between_tables",
            Self::BeforeWatermark => "before_watermark",
            Self::AfterWatermark => "after_watermark",
            Self::BeforeCommit => "before_commit",
            Self::Committed => "committed",
            Self::BackfillPlanning => "backfill_planning",
            Self::BackfillPlanned => "backfill_planned",
            Self::RebuildWritten => "rebuild_written",
            Self::RebuildCommitted => "rebuild_committed",
            Self::Migrating => "migrating",
        }
    }
}

/// A defect that the suite must catch. tests/defects/list.txt names the tests that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// A moment at the end of a window counts as within.
    EdgeCounted,
    /// The watermark takes in windows that are not verified yet.
    WatermarkEarly,
    FenceNotChecked,
    /// Records that start outside their window are thrown away.
    LookbackFiltered,
    /// A changed contact keeps the agents that it had.
    ChildrenKept,
    RetryAfterIgnored,
    /// Every read counts as proved by count.
    ReadNotChecked,
    /// Keys of dimensions are remembered before their COMMIT.
    CacheBeforeCommit,
    /// What was received earlier overwrites what was received later.
    OlderOverNewer,
    /// The verified stretch is computed before the stream is locked.
    PrefixBeforeLock,
    /// A window whose COMMIT gave no answer is written once more.
    CommitTwice,
    LastPageDropped,
    /// The parameter for contacts below the threshold is not sent.
    BelowThresholdLost,
    /// The ledger calls every window verified.
    UnverifiedVerified,
    /// What goes to quarantine is counted and not kept.
    QuarantineSwallowed,
    /// Contacts are called removed by reads that are not proved.
    RemovedUnproved,
    /// A read within the range that brought a contact is evidence against it.
    RemovedUncovered,
    /// Whom one read by count lacks is called removed.
    RemovedByOneCount,
    /// Windows merged lose what they had inserted.
    MergedInsertsLost,
    /// A rate-limit answer stops nobody but the one who got it.
    GateOpen,
    /// A slot whose moment has passed is used.
    LateSlotUsed,
    LeaseNotRenewed,
    /// Of repeats the first to arrive wins.
    WinnerByArrival,
    /// Two reads cut at the same places may agree.
    AgreementSameCut,
    /// The rest of a backfill's range is dropped where a whole window does not fit.
    BackfillRestDropped,
    /// A rebuild notes its place before its rows are written.
    RebuildNotedEarly,
    /// A text that was held when its page came is never looked at again.
    HeldNotConfirmed,
    /// A change leaves no trace in history.
    ChangeNotKept,
    /// Workers go to whoever asks first: one stream may have them all, and live windows wait with the others.
    FirstComeFirstServed,
    /// A day is kept from more than one snapshot.
    DayKeptOfSeveralMoments,
}

impl Defect {
    pub const ALL: [Self; 30] = [
        Self::EdgeCounted,
        Self::WatermarkEarly,
        Self::FenceNotChecked,
        Self::LookbackFiltered,
        Self::ChildrenKept,
        Self::RetryAfterIgnored,
        Self::ReadNotChecked,
        Self::CacheBeforeCommit,
        Self::OlderOverNewer,
        Self::PrefixBeforeLock,
        Self::CommitTwice,
        Self::LastPageDropped,
        Self::BelowThresholdLost,
        Self::UnverifiedVerified,
        Self::QuarantineSwallowed,
        Self::RemovedUnproved,
        Self::RemovedUncovered,
        Self::RemovedByOneCount,
        Self::MergedInsertsLost,
        Self::GateOpen,
        Self::LateSlotUsed,
        Self::LeaseNotRenewed,
        Self::WinnerByArrival,
        Self::AgreementSameCut,
        Self::BackfillRestDropped,
        Self::RebuildNotedEarly,
        Self::HeldNotConfirmed,
        Self::ChangeNotKept,
        Self::FirstComeFirstServed,
        Self::DayKeptOfSeveralMoments,
    ];
}

/// Does what a test asked for at this point.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn cross(_: Point) -> std::io::Result<()> {
    Ok(())
}

/// Whether a test planted this defect.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn is_planted(_: Defect) -> bool {
    false
}
