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

/// The packets of one session. Each has a number, in their order.
pub(super) struct Queue {
    packets: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the first one.
    first: u64,
    /// What all queues together may still take.
    room: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn new(room: Arc<AtomicUsize>) -> Self {
        Self { packets: VecDeque::new(), bytes: 0, first: 0, room }
    }

    /// Adds a packet. How many found no room: the oldest first, or this one if that is not enough.
    pub(super) fn push(&mut self, packet: &[u8]) -> u64 {
        let mut dropped = 0;
        while self.packets.len() >= MOST_PACKETS
            || self.bytes + packet.len() > MOST_BYTES
            || !self.takes_room_for(packet.len())
        {
            if self.pop().is_none() {
                return dropped + 1;
            }
            dropped += 1;
        }
        self.bytes += packet.len();
        self.packets.push_back(Bytes::copy_from_slice(packet));
        dropped
    }

    /// The first packet of this number or a later one, and its number.
    pub(super) fn get(&self, number: u64) -> Option<(u64, Bytes)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        Some((number, self.packets.get(index)?.clone()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Empties it; how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        std::iter::from_fn(|| self.pop()).map(|_| 1).sum()
    }

    fn pop(&mut self) -> Option<Bytes> {
        let packet = self.packets.pop_front()?;
        self.first += 1;
        self.bytes -= packet.len();
        self.room.fetch_add(packet.len(), Ordering::Relaxed);
        Some(packet)
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

    fn all(queue: &Queue) -> Vec<Bytes> {
        let mut next = 0;
        let numbered = std::iter::from_fn(|| {
            let (number, packet) = queue.get(next)?;
            next = number + 1;
            Some(packet)
        });
        numbered.collect()
    }

    #[test]
    fn of_too_many_the_oldest_are_dropped() {
        let (mut queue, _) = queue(usize::MAX);
        let dropped: u64 = (0..40_u8).map(|number| queue.push(&[number])).sum();
        assert_eq!(dropped, 8);
        assert_eq!(all(&queue)[0], [8_u8].as_slice());
        assert_eq!(all(&queue).len(), MOST_PACKETS);
    }

    #[test]
    fn a_session_has_room_for_so_many_bytes() {
        let (mut queue, _) = queue(usize::MAX);
        let large = vec![0; MOST_BYTES / 2];
        assert_eq!([queue.push(&large), queue.push(&large), queue.push(&[1])], [0, 0, 1]);
        assert_eq!(all(&queue).len(), 2);
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
        assert_eq!(queue.get(1).unwrap(), (1, Bytes::from_static(&[1])));
        queue.pop();
        queue.pop();
        assert_eq!(queue.get(1).unwrap(), (2, Bytes::from_static(&[2])));
        assert_eq!(queue.get(3), None);
    }
}
