//! What waits to be written to one Network Connection.
//!
//! Small packets are encoded into one buffer; large payloads stay where they are and are referenced
//! at the place in the stream where they belong, so that one gathering write sends both.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use crate::message::Message;

/// Unwritten bytes of one connection, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already written.
    written: usize,
    /// Payloads that belong before `buffer[at]`, in order.
    payloads: VecDeque<Insert>,
    /// Unwritten payload bytes.
    payload_bytes: usize,
}

#[derive(Debug)]
struct Insert {
    at: usize,
    message: Arc<Message>,
    written: usize,
}

/// Most slices that one gathering write takes.
pub const SLICES_MAX: usize = 64;

/// Buffers above this size are freed when they are empty, below it they go back to the pool.
const POOLED_BYTES_MAX: usize = 256 * 1024;

/// Empty buffers that a worker keeps.
const POOL_MAX: usize = 256;

/// Empty buffers of one worker, for whichever connection has something to say next.
#[derive(Debug, Default)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(4096))
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= POOLED_BYTES_MAX && self.free.len() < POOL_MAX {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// Lets most of the free buffers go; called when the worker has been quiet.
    pub fn shrink(&mut self) {
        self.free.truncate(8);
        self.free.shrink_to(8);
    }
}

impl Outgoing {
    /// Unwritten bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written + self.payload_bytes
    }

    /// Whether nothing waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buffer.len() == self.written && self.payloads.is_empty()
    }

    /// The buffer to append encoded packets to.
    #[inline]
    pub fn buffer(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        }
        &mut self.buffer
    }

    /// References the payload of `message` at the present end of the stream.
    pub fn push_payload(&mut self, message: &Arc<Message>) {
        if message.payload().is_empty() {
            return;
        }
        self.payload_bytes += message.payload().len();
        self.payloads.push_back(Insert {
            at: self.buffer.len(),
            message: Arc::clone(message),
            written: 0,
        });
    }

    /// Fills `slices` with the next unwritten bytes; returns how many were set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = self.written;
        let mut push = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(filled) else {
                return false;
            };
            *slot = IoSlice::new(bytes);
            filled += 1;
            true
        };
        for insert in &self.payloads {
            let head = self.buffer.get(from..insert.at).unwrap_or_default();
            let payload = insert
                .message
                .payload()
                .get(insert.written..)
                .unwrap_or_default();
            if !push(head) || !push(payload) {
                return filled;
            }
            from = insert.at;
        }
        push(self.buffer.get(from..).unwrap_or_default());
        filled
    }

    /// Notes that the first `bytes` have been written. An emptied buffer goes back to the pool.
    pub fn advance(&mut self, mut bytes: usize, pool: &mut BufferPool) {
        while bytes > 0 {
            let until = self
                .payloads
                .front()
                .map_or(self.buffer.len(), |insert| insert.at);
            let head = (until - self.written).min(bytes);
            self.written += head;
            bytes -= head;
            let Some(insert) = self.payloads.front_mut() else {
                break;
            };
            if self.written < insert.at {
                break;
            }
            let left = insert.message.payload().len() - insert.written;
            let part = left.min(bytes);
            insert.written += part;
            self.payload_bytes -= part;
            bytes -= part;
            if part == left {
                self.payloads.pop_front();
            }
        }
        if self.is_empty() {
            self.clear(pool);
        } else if self.written > 64 * 1024 && self.written * 2 > self.buffer.len() {
            self.buffer.drain(..self.written);
            self.payloads
                .iter_mut()
                .for_each(|insert| insert.at -= self.written);
            self.written = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.buffer));
        self.payloads = VecDeque::new();
        self.payload_bytes = 0;
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use dunlin_packet::QoS;

    use super::*;
    use crate::message::{Incoming, Origin, Publisher};

    fn message(payload: &[u8]) -> Arc<Message> {
        let publisher = Arc::new(Publisher {
            client_id: "p".into(),
            user_name: None,
            address: "".into(),
        });
        let topic: Arc<str> = "t".into();
        let mut incoming = Incoming::new(
            &topic,
            &publisher,
            Origin {
                partition: 0,
                sequence: 0,
            },
        );
        incoming.payload = payload;
        incoming.qos = QoS::AtMostOnce;
        Arc::clone(incoming.share())
    }

    /// Writes in pieces of `step` bytes and returns the stream as the peer sees it.
    fn drain(outgoing: &mut Outgoing, pool: &mut BufferPool, step: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while !outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let filled = outgoing.slices(&mut slices);
            let flat: Vec<u8> = slices[..filled]
                .iter()
                .flat_map(|s| s.iter().copied())
                .collect();
            let part = flat.len().min(step);
            assert!(part > 0);
            seen.extend_from_slice(&flat[..part]);
            outgoing.advance(part, pool);
        }
        assert_eq!(outgoing.len(), 0);
        seen
    }

    #[test]
    fn payloads_keep_their_place_in_the_stream_whatever_the_write_sizes() {
        for step in 1..40 {
            let (mut outgoing, mut pool) = (Outgoing::default(), BufferPool::default());
            outgoing.buffer(&mut pool).extend_from_slice(b"head1");
            outgoing.push_payload(&message(b"PAYLOAD-ONE"));
            outgoing.push_payload(&message(b"TWO"));
            outgoing.buffer(&mut pool).extend_from_slice(b"head2");
            outgoing.push_payload(&message(b""));
            outgoing.buffer(&mut pool).extend_from_slice(b"!");
            assert_eq!(outgoing.len(), 25);
            assert_eq!(
                drain(&mut outgoing, &mut pool, step),
                b"head1PAYLOAD-ONETWOhead2!"
            );
        }
    }

    #[test]
    fn a_long_stream_is_compacted_without_losing_its_place() {
        let (mut outgoing, mut pool) = (Outgoing::default(), BufferPool::default());
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        outgoing.buffer(&mut pool).extend_from_slice(&bytes);
        outgoing.push_payload(&message(b"end"));
        let seen = drain(&mut outgoing, &mut pool, 7000);
        assert_eq!(&seen[..200_000], &bytes[..]);
        assert_eq!(&seen[200_000..], b"end");
    }

    #[test]
    fn an_empty_buffer_returns_to_the_pool() {
        let (mut outgoing, mut pool) = (Outgoing::default(), BufferPool::default());
        outgoing.buffer(&mut pool).push(1);
        outgoing.advance(1, &mut pool);
        assert_eq!(pool.free.len(), 1);
        assert_eq!(outgoing.buffer.capacity(), 0);
    }
}
