//! The buffers that a worker reads into.
//!
//! One serves all connections, since nothing of a read outlives it but large payloads on their way out. Those
//! are written straight from the buffer, and the next read of the turn takes another one; at the end of the turn
//! all are free.

use std::sync::Arc;

/// Bytes read at once.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Buffers that are kept; a turn has as many reads.
const BUFFERS_MAX: usize = 16;

/// Read buffers; the one of the last read is the first.
pub(crate) struct ReadBuffers {
    last: Arc<[u8]>,
    others: Vec<Arc<[u8]>>,
}

impl Default for ReadBuffers {
    fn default() -> Self {
        Self {
            last: new(),
            others: Vec::new(),
        }
    }
}

fn new() -> Arc<[u8]> {
    std::iter::repeat_n(0, READ_BUFFER_BYTES).collect()
}

impl ReadBuffers {
    /// The bytes of a buffer that nobody references, to be read into.
    pub(crate) fn free_bytes(&mut self) -> &mut [u8] {
        if Arc::get_mut(&mut self.last).is_none() {
            let free = self
                .others
                .iter_mut()
                .position(|buffer| Arc::get_mut(buffer).is_some());
            match free.and_then(|at| self.others.get_mut(at)) {
                Some(free) => std::mem::swap(free, &mut self.last),
                None => {
                    let busy = std::mem::replace(&mut self.last, new());
                    // One too many is freed by whoever references it.
                    if self.others.len() + 1 < BUFFERS_MAX {
                        self.others.push(busy);
                    }
                }
            }
        }
        Arc::get_mut(&mut self.last).unwrap_or_default()
    }

    /// The buffer of the last read.
    pub(crate) fn last(&self) -> &Arc<[u8]> {
        &self.last
    }

    /// Lets the spare ones go.
    pub(crate) fn trim(&mut self) {
        self.others = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_is_referenced() {
        let mut buffers = ReadBuffers::default();
        buffers.free_bytes()[0] = 1;
        buffers.free_bytes()[0] = 2;
        assert_eq!(buffers.others.len(), 0);
        let referenced: Vec<Arc<[u8]>> = (3..40)
            .map(|n| {
                buffers.free_bytes()[0] = n;
                Arc::clone(buffers.last())
            })
            .collect();
        let seen: Vec<u8> = referenced.iter().map(|buffer| buffer[0]).collect();
        assert_eq!(seen, (3..40).collect::<Vec<u8>>());
        assert_eq!(buffers.others.len(), BUFFERS_MAX - 1);
        drop(referenced);
        buffers.free_bytes()[0] = 50;
        assert_eq!(buffers.last()[0], 50);
        assert_eq!(buffers.others.len(), BUFFERS_MAX - 1);
        buffers.trim();
        assert_eq!(buffers.others.len(), 0);
    }
}
