//! What is known of one request: of a connection's present one, or of a stream's only one.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU8, AtomicU64, Ordering, fence},
};

use tokio::time::{Duration, Instant};

use super::InFlightStage;

/// The low bits of the word: what the fields are about.
const STATE: u64 = 0b11;
const NONE: u64 = 0b00;
const WRITING: u64 = 0b01;
const UNDER_WAY: u64 = 0b10;
const ONE: u64 = 0b100;

/// The request on one connection, or one stream: written by its task, and read by anybody.
///
/// The word holds the request's number, and whether the fields are its: whoever reads the same word
/// before and after the fields has read those of one request. Nothing here allocates or waits.
pub(crate) struct Place {
    /// Moments are counted from here.
    made: Instant,
    word: AtomicU64,
    route: AtomicU64,
    client: [AtomicU64; 2],
    /// Milliseconds since `made`.
    began: AtomicU64,
    bytes: AtomicU64,
    stage: AtomicU8,
}

/// A request as its place tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) route: u64,
    pub(crate) client: IpAddr,
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
    pub(crate) stage: InFlightStage,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            made: Instant::now(),
            word: AtomicU64::new(NONE),
            route: AtomicU64::new(0),
            client: [AtomicU64::new(0), AtomicU64::new(0)],
            began: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stage: AtomicU8::new(0),
        }
    }

    /// A request begins; its number. Only one caller at a time may do this: the connection's task.
    pub(crate) fn begin(&self, route: u64, client: IpAddr) -> u64 {
        let number = (self.word.load(Ordering::Relaxed) & !STATE).wrapping_add(ONE);
        self.word.store(number | WRITING, Ordering::Relaxed);
        // Whoever sees one of the fields below also sees the word above.
        fence(Ordering::Release);
        let [first, second] = &self.client;
        let (high, low) = halves(client);
        first.store(high, Ordering::Relaxed);
        second.store(low, Ordering::Relaxed);
        self.route.store(route, Ordering::Relaxed);
        self.began.store(self.now(), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.is_at(InFlightStage::Waiting);
        self.word.store(number | UNDER_WAY, Ordering::Release);
        number
    }

    pub(crate) fn is_at(&self, stage: InFlightStage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn passed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The request of this number is over, unless another has begun since.
    pub(crate) fn end(&self, number: u64) {
        // An error says that another has.
        _ = self.word.compare_exchange(
            number | UNDER_WAY,
            number | NONE,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// The request that is under way, if one is, and if it does not change at this very moment.
    pub(crate) fn look(&self) -> Option<Seen> {
        let before = self.word.load(Ordering::Acquire);
        if before & STATE != UNDER_WAY {
            return None;
        }
        let [first, second] = &self.client;
        let client = whole(first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
        let route = self.route.load(Ordering::Relaxed);
        let began = self.began.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let stage = usize::from(self.stage.load(Ordering::Relaxed));
        // What was read above is of before the word is read below.
        fence(Ordering::Acquire);
        let is_one = self.word.load(Ordering::Relaxed) == before;
        let stage = *InFlightStage::ALL.get(stage)?;
        let age = Duration::from_millis(self.now().saturating_sub(began));
        is_one.then_some(Seen { route, client, age, bytes, stage })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn halves(address: IpAddr) -> (u64, u64) {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let bits = address.to_bits();
    #[expect(clippy::cast_possible_truncation, reason = "each is one half")]
    let halves = ((bits >> 64) as u64, bits as u64);
    halves
}

fn whole(high: u64, low: u64) -> IpAddr {
    let bits = u128::from(high) << 64 | u128::from(low);
    IpAddr::from(Ipv6Addr::from_bits(bits)).to_canonical()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_is_seen_until_it_ends() {
        let place = Place::new();
        assert_eq!(place.look(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        let client = "203.0.113.7".parse().unwrap();
        let number = place.begin(3, client);
        place.is_at(InFlightStage::Served);
        place.passed(5);
        place.passed(7);
        tokio::time::advance(Duration::from_secs(2)).await;
        let age = Duration::from_secs(2);
        let stage = InFlightStage::Served;
        assert_eq!(place.look(), Some(Seen { route: 3, client, age, bytes: 12, stage }));
        place.end(number);
        assert_eq!(place.look(), None);
    }

    /// Each open connection has one, its key, and an entry in the list.
    #[test]
    fn a_place_is_small() {
        let entry = size_of::<(usize, std::sync::Weak<u8>)>();
        let size = size_of::<Place>() + size_of::<usize>() + entry;
        assert!(size <= 96, "{size} bytes");
    }

    #[test]
    fn the_end_of_a_request_does_not_end_the_next() {
        let place = Place::new();
        let first = place.begin(1, "2001:db8::7".parse().unwrap());
        let second = place.begin(2, "::1".parse().unwrap());
        place.end(first);
        let seen = place.look().unwrap();
        assert_eq!((seen.route, seen.client), (2, "::1".parse().unwrap()));
        assert_eq!((seen.bytes, seen.stage), (0, InFlightStage::Waiting));
        place.end(second);
        assert_eq!(place.look(), None);
    }

    #[test]
    fn what_is_read_is_of_one_request() {
        let place = Place::new();
        let is_over = AtomicBool::new(false);
        let client = |route: u64| whole(route << 32, route << 16 | 1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for route in 1..200_000 {
                    let number = place.begin(route, client(route));
                    place.end(number);
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                if let Some(seen) = place.look() {
                    assert_eq!(seen.client, client(seen.route));
                }
            }
        });
    }
}
