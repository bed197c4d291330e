//! What waits to be written to one Network Connection.
//!
//! Small packets are encoded into one buffer; large payloads stay where they are and are referenced
//! at the place in the stream where they belong, so that one gathering write sends both. Where they are is a
//! message on the heap, or the buffer that they were read into, until the turn ends ([`Outgoing::release_read_buffers`]).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use dunlin_protocol::OnDemand;

use crate::message::Message;

/// Unwritten bytes of one connection, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already written.
    written: usize,
    /// Payloads that belong before `buffer[at]`, in order.
    payloads: OnDemand<VecDeque<Insert>>,
    /// Unwritten payload bytes.
    payload_bytes: usize,
}

#[derive(Debug)]
struct Insert {
    at: usize,
    payload: Payload,
    written: usize,
}

/// Where a referenced payload is.
#[derive(Debug)]
enum Payload {
    Message(Arc<Message>),
    /// In a buffer that bytes were read into, and that is wanted back.
    Read(Arc<[u8]>, Range<usize>),
    /// Copied out of such a buffer.
    Kept(Box<[u8]>),
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Message(message) => message.payload(),
            Self::Read(buffer, place) => buffer.get(place.clone()).unwrap_or_default(),
            Self::Kept(bytes) => bytes,
        }
    }
}

/// Most slices that one gathering write takes.
pub const SLICES_MAX: usize = 64;

/// What a new buffer has room for; it grows, and keeps what it has grown to in the pool.
const BUFFER_BYTES_MIN: usize = 1024;

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
        self.free
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES_MIN))
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
        self.buffer.len() == self.written && self.payload_bytes == 0
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
        self.push_insert(Payload::Message(Arc::clone(message)));
    }

    /// References a payload in the buffer that it was read into. To be followed by [`Outgoing::release_read_buffers`]
    /// before the turn ends.
    pub fn push_read(&mut self, buffer: &Arc<[u8]>, place: Range<usize>) {
        self.push_insert(Payload::Read(Arc::clone(buffer), place));
    }

    fn push_insert(&mut self, payload: Payload) {
        let bytes = payload.bytes().len();
        if bytes == 0 {
            return;
        }
        self.payload_bytes += bytes;
        self.payloads.make().push_back(Insert {
            at: self.buffer.len(),
            payload,
            written: 0,
        });
    }

    /// Lets go of the buffers that bytes were read into: what is left of their payloads is copied.
    pub fn release_read_buffers(&mut self) {
        for insert in self.payloads.get_mut().into_iter().flatten() {
            if let Payload::Read(..) = insert.payload {
                let left = insert.payload.bytes().get(insert.written..);
                insert.payload = Payload::Kept(left.unwrap_or_default().into());
                insert.written = 0;
            }
        }
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
        for insert in self.payloads.get().into_iter().flatten() {
            let head = self.buffer.get(from..insert.at).unwrap_or_default();
            let payload = insert
                .payload
                .bytes()
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
            let first = self.payloads.get_mut().and_then(VecDeque::front_mut);
            let Some(insert) = first else {
                self.written += bytes.min(self.buffer.len() - self.written);
                break;
            };
            let head = (insert.at - self.written).min(bytes);
            self.written += head;
            bytes -= head;
            if self.written < insert.at {
                break;
            }
            let left = insert.payload.bytes().len() - insert.written;
            let part = left.min(bytes);
            insert.written += part;
            self.payload_bytes -= part;
            bytes -= part;
            if part == left {
                self.payloads.make().pop_front();
            }
        }
        if self.is_empty() {
            self.clear(pool);
        } else if self.written > 64 * 1024 && self.written * 2 > self.buffer.len() {
            self.buffer.drain(..self.written);
            for insert in self.payloads.get_mut().into_iter().flatten() {
                insert.at -= self.written;
            }
            self.written = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.buffer));
        self.payloads.clear();
        self.payload_bytes = 0;
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use dunlin_packet::QoS;

    use super::*;
    use crate::io::Principal;
    use crate::message::{Incoming, Origin, Publisher};

    fn message(payload: &[u8]) -> Arc<Message> {
        let publisher = Arc::new(Publisher {
            client_id: "p".into(),
            principal: Principal::default(),
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
    fn a_read_buffer_is_let_go_wherever_the_write_stopped() {
        let read: Arc<[u8]> = Arc::from(&b"..PAYLOAD-ONE..TWO.."[..]);
        for written in 0..24 {
            let (mut outgoing, mut pool) = (Outgoing::default(), BufferPool::default());
            outgoing.buffer(&mut pool).extend_from_slice(b"head1");
            outgoing.push_read(&read, 2..13);
            outgoing.buffer(&mut pool).extend_from_slice(b"head2");
            outgoing.push_read(&read, 15..18);
            let (mut seen, whole) = (Vec::new(), b"head1PAYLOAD-ONEhead2TWO");
            seen.extend_from_slice(&whole[..written]);
            outgoing.advance(written, &mut pool);
            outgoing.release_read_buffers();
            assert_eq!(Arc::strong_count(&read), 1, "after {written} bytes");
            assert_eq!(outgoing.len(), whole.len() - written);
            seen.extend(drain(&mut outgoing, &mut pool, 4));
            assert_eq!(seen, whole, "after {written} bytes");
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
