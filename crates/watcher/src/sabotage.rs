//! Deliberate bugs, so that the simulation can show that it finds them. Without the feature `sabotage`, and
//! in a build without debug assertions, there is nothing of them in the program; else nothing until one is
//! armed.

/// Whether this deliberate bug is armed.
#[cfg(all(feature = "sabotage", debug_assertions))]
macro_rules! sabotaged {
    ($bug:ident) => {
        $crate::sabotage::is_armed($crate::sabotage::Sabotage::$bug)
    };
}

/// Whether this deliberate bug is armed: never.
#[cfg(not(all(feature = "sabotage", debug_assertions)))]
macro_rules! sabotaged {
    ($bug:ident) => {
        false
    };
}

pub(crate) use sabotaged;

#[cfg(all(feature = "sabotage", debug_assertions))]
pub(crate) use armed::is_armed;
#[cfg(all(feature = "sabotage", debug_assertions))]
pub use armed::{Sabotage, arm};

#[cfg(all(feature = "sabotage", debug_assertions))]
mod armed {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    /// A deliberate bug.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Sabotage {
        /// A sleep is ordered without a look at the container first.
        SkipTheLook,
        /// The gate is shut whatever the word is by now.
        SwapAnyWord,
        /// It sleeps while leases are held.
        IgnoreLeases,
        /// What was asked for while it was being stopped is forgotten.
        ForgetWhoComesDuringAStop,
        /// Nobody is told that their deadline has passed.
        ForgetDeadlines,
        /// It is ready as soon as it runs.
        ReadyWithoutAProbe,
        /// A `Synced` that contradicts what is believed is not looked into.
        BelieveInSpiteOfNews,
        /// What came of an order is taken from its answer's absence: it is given again at once.
        OrderAgainAfterALostAnswer,
        /// It is started before what it needs is there.
        StartBeforeNeeds,
        /// What it needs is let go of while it runs.
        LetGoOfNeeds,
        /// Nothing of what it needs is held when its management begins.
        HoldNothingAtAdoption,
        /// What runs when its management begins may sleep at once.
        NoIdleTimeAfterAdoption,
        /// A stop that failed is not tried again.
        NeverRetryAStop,
        /// What it needs is not woken again when it dies.
        RepairNothing,
        /// A job that is complete is run again.
        RunCompleteJobsAgain,
        /// A passive request wakes.
        PassiveRequestsWake,
        /// A passive lease counts as use when it ends.
        CountPassiveLeasesAsUse,
        /// The first of those who wait is forgotten when it is ready.
        ForgetAWaiter,
        /// The circuit never closes.
        CircuitStaysOpen,
        /// A use that has just ended does not count.
        ForgetTheLastUse,
        /// A run that was told to have died serves on.
        IgnoreDeaths,
        /// What does not answer the probe that looks into a report serves on.
        ServeOnInDoubt,
        /// The minimum time awake does not count.
        IgnoreMinimumAwake,
        /// It sleeps whatever is said by those who are asked.
        IgnoreGates,
        /// Somebody's start is nobody's use.
        IgnoreStartsFromOutside,
        /// What is held asleep is started all the same.
        WakeWhatIsHeldAsleep,
        /// The others of its group sleep on when it is woken.
        WakeNoMates,
        /// It sleeps though others of its group are in use.
        IgnoreMates,
        /// It is not tried again when it could not wake with the others of its group.
        LeaveMatesBehind,
        /// A sleep waits for no turn of its engine.
        SleepOutOfTurn,
        /// What was frozen is not stopped, however long nobody wants it.
        LeaveTheFrozen,
        /// What was frozen is stopped as soon as its idle time has passed.
        StopTheFrozenAtOnce,
    }

    /// Arms a bug for this thread, or none.
    pub fn arm(sabotage: Option<Sabotage>) {
        ARMED.set(sabotage);
    }

    pub(crate) fn is_armed(sabotage: Sabotage) -> bool {
        ARMED.get() == Some(sabotage)
    }
}
