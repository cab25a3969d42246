//! Packets that wait for their upstream.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// How much waits in one session: some packets of the largest kind, or a handful of retries.
const MOST_PACKETS: usize = 32;
const MOST_BYTES: usize = 128 * 1024;

/// The packets of one session, in their order. Those that were sent are kept until they are cleared.
pub(super) struct Queue {
    packets: VecDeque<Bytes>,
    bytes: usize,
    /// How many of them were sent, the first ones.
    sent: usize,
    /// What all queues together may still take.
    room: Arc<AtomicUsize>,
}

/// One that left its place.
struct Popped {
    was_sent: bool,
}

impl Queue {
    pub(super) fn new(room: Arc<AtomicUsize>) -> Self {
        Self { packets: VecDeque::new(), bytes: 0, sent: 0, room }
    }

    /// Adds a packet. How many that were not sent found no room: the oldest first, or this one if that is
    /// not enough.
    pub(super) fn push(&mut self, packet: &[u8]) -> u64 {
        let mut dropped = 0;
        while self.packets.len() >= MOST_PACKETS
            || self.bytes + packet.len() > MOST_BYTES
            || !self.takes_room_for(packet.len())
        {
            match self.pop() {
                Some(popped) => dropped += u64::from(!popped.was_sent),
                None => return dropped + 1,
            }
        }
        self.bytes += packet.len();
        self.packets.push_back(Bytes::copy_from_slice(packet));
        dropped
    }

    /// The next one to be sent.
    pub(super) fn next(&self) -> Option<&Bytes> {
        self.packets.get(self.sent)
    }

    /// The next one was sent.
    pub(super) fn has_sent(&mut self) {
        self.sent += usize::from(self.sent < self.packets.len());
    }

    /// Takes the next one off, unsent.
    pub(super) fn skip(&mut self) {
        if let Some(packet) = self.packets.remove(self.sent) {
            self.gives_back(&packet);
        }
    }

    /// Nobody had those that were sent: all of them are to be sent again.
    pub(super) fn begin_again(&mut self) {
        self.sent = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Empties it; how many were not sent.
    pub(super) fn clear(&mut self) -> u64 {
        std::iter::from_fn(|| self.pop()).map(|popped| u64::from(!popped.was_sent)).sum()
    }

    fn pop(&mut self) -> Option<Popped> {
        let packet = self.packets.pop_front()?;
        let was_sent = self.sent > 0;
        self.sent -= usize::from(was_sent);
        self.gives_back(&packet);
        Some(Popped { was_sent })
    }

    fn gives_back(&mut self, packet: &Bytes) {
        self.bytes -= packet.len();
        self.room.fetch_add(packet.len(), Ordering::Relaxed);
    }

    /// Whether there was so much room, which is taken now. Others take of it at the same moment.
    fn takes_room_for(&self, bytes: usize) -> bool {
        let less = |room: usize| room.checked_sub(bytes);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(room: usize) -> (Queue, Arc<AtomicUsize>) {
        let room = Arc::new(AtomicUsize::new(room));
        (Queue::new(Arc::clone(&room)), room)
    }

    fn all(queue: &mut Queue) -> Vec<Bytes> {
        queue.begin_again();
        let sent = std::iter::from_fn(|| {
            let packet = queue.next()?.clone();
            queue.has_sent();
            Some(packet)
        });
        sent.collect()
    }

    #[test]
    fn of_too_many_the_oldest_are_dropped() {
        let (mut queue, _) = queue(usize::MAX);
        let dropped: u64 = (0..40_u8).map(|number| queue.push(&[number])).sum();
        assert_eq!(dropped, 8);
        assert_eq!(all(&mut queue)[0], [8_u8].as_slice());
        assert_eq!(all(&mut queue).len(), MOST_PACKETS);
    }

    #[test]
    fn what_was_sent_makes_room_uncounted() {
        let (mut queue, room) = queue(10);
        queue.push(&[0; 6]);
        queue.has_sent();
        assert_eq!(queue.push(&[1; 8]), 0);
        assert_eq!(queue.push(&[2; 8]), 1);
        queue.has_sent();
        queue.has_sent();
        assert_eq!((queue.clear(), room.load(Ordering::Relaxed)), (0, 10));
    }

    #[test]
    fn what_cannot_be_sent_is_not_sent_again_either() {
        let (mut queue, room) = queue(10);
        for number in 0..3 {
            queue.push(&[number]);
        }
        queue.has_sent();
        queue.skip();
        assert_eq!(all(&mut queue), [[0_u8].as_slice(), &[2]]);
        queue.skip();
        queue.begin_again();
        assert_eq!((queue.clear(), room.load(Ordering::Relaxed)), (2, 10));
    }

    #[test]
    fn a_session_has_room_for_so_many_bytes() {
        let (mut queue, _) = queue(usize::MAX);
        let large = vec![0; MOST_BYTES / 2];
        assert_eq!([queue.push(&large), queue.push(&large), queue.push(&[1])], [0, 0, 1]);
        assert_eq!(all(&mut queue).len(), 2);
    }

    #[test]
    fn all_sessions_share_what_room_there_is_and_give_it_back() {
        let (mut one, room) = queue(10);
        let mut other = Queue::new(Arc::clone(&room));
        assert_eq!(one.push(&[0; 8]), 0);
        assert_eq!(other.push(&[0; 4]), 1, "it has none of its own to drop");
        assert_eq!(one.push(&[0; 9]), 1, "it drops its own");
        drop(one);
        assert_eq!(other.push(&[0; 10]), 0);
        other.clear();
        assert_eq!(room.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn who_takes_at_the_same_moment_takes_no_more_than_there_is() {
        let room = Arc::new(AtomicUsize::new(1000));
        let begin = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut queue = Queue::new(Arc::clone(&room));
                    begin.wait();
                    for _ in 0..20_000 {
                        queue.push(&[0; 900]);
                        assert!(room.load(Ordering::Relaxed) <= 1000);
                        queue.clear();
                    }
                });
            }
        });
        assert_eq!(room.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn who_was_sent_some_goes_on_after_them_whatever_was_dropped() {
        let (mut queue, _) = queue(usize::MAX);
        for number in 0..3_u8 {
            queue.push(&[number]);
        }
        queue.has_sent();
        assert_eq!(queue.next().unwrap(), [1_u8].as_slice());
        queue.pop();
        queue.pop();
        assert_eq!(queue.next().unwrap(), [2_u8].as_slice());
        queue.has_sent();
        assert_eq!(queue.next(), None);
    }
}
