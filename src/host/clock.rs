//! The time, as a value that logic is given.

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub trait Clock {
    fn now(&self) -> Timestamp;

    /// In which people here read the time.
    fn zone(&self) -> TimeZone {
        TimeZone::UTC
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn zone(&self) -> TimeZone {
        TimeZone::system()
    }
}

/// A clock that stands still, for tests.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
