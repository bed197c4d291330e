//! What happens because time has passed. No packet pays for a timer: a connection's last sign of
//! life is stored, and all of them are looked at twice a second.

use dunlin_packet::ReasonCode;
use dunlin_packet::mutant::{self, Mutant};
use dunlin_protocol::{Timestamp, keep_alive};
use dunlin_route::SessionKey;

use crate::engine::Engine;
use crate::limits::{KEEP_ALIVE_SCAN_MS, WAITING_ACKS_MAX};

/// The Keep Alive account of one connection; kept apart from the connections so that the scan
/// touches little memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) last_seen: Timestamp,
    /// 0 while there is nothing to watch.
    pub(crate) keep_alive_s: u16,
}

/// Something that happens to a Session without connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
    pub(crate) session: SessionKey,
}

/// In this order if they fall together: a Will is published before its Session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The Will Delay Interval has passed.
    Will,
    /// The Session Expiry Interval has passed.
    SessionExpiry,
}

impl Engine {
    /// When [`crate::Input::Timeout`] is due next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let retained = self.retained.next_sweep();
        [self.due.first().map(|due| due.at), self.next_scan, retained]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notes that a connection is to be watched from now on.
    pub(crate) fn watch(&mut self, slot: u32, keep_alive_s: u16, now: Timestamp) {
        let at = slot as usize;
        if self.watches.len() <= at {
            self.watches.resize(at + 1, Watch::default());
        }
        if let Some(watch) = self.watches.get_mut(at) {
            *watch = Watch {
                last_seen: now,
                keep_alive_s,
            };
        }
        if keep_alive_s != 0 && self.next_scan.is_none() {
            self.next_scan = Some(now + KEEP_ALIVE_SCAN_MS);
        }
    }

    pub(crate) fn unwatch(&mut self, slot: u32) {
        if let Some(watch) = self.watches.get_mut(slot as usize) {
            watch.keep_alive_s = 0;
        }
    }

    #[inline]
    pub(crate) fn seen(&mut self, slot: u32, now: Timestamp) {
        if let Some(watch) = self.watches.get_mut(slot as usize) {
            watch.last_seen = now;
        }
    }

    pub(crate) fn timeout(&mut self, now: Timestamp) {
        if self.next_scan.is_some_and(|at| at <= now) {
            self.scan_keep_alive(now);
        }
        while let Some(due) = self.due.first().copied().filter(|due| due.at <= now) {
            self.due.remove(&due);
            match due.what {
                What::Will => self.publish_will(due.session.slot, now),
                What::SessionExpiry => self.end_session(due.session.slot, now),
            }
        }
        for record in self.retained.sweep(now, self.durable) {
            self.commit_lazily(vec![record]);
        }
    }

    fn is_paused(&self, slot: u32) -> bool {
        self.connections
            .get(slot as usize)
            .and_then(|connection| connection.live())
            .is_some_and(|live| {
                let waits = !live.acknowledged || live.acks.len() >= WAITING_ACKS_MAX;
                live.is_paused() || (self.durable && waits)
            })
    }

    fn scan_keep_alive(&mut self, now: Timestamp) {
        let mut watched = false;
        for slot in 0..self.watches.len() {
            let Some(watch) = self
                .watches
                .get(slot)
                .copied()
                .filter(|watch| watch.keep_alive_s != 0)
            else {
                continue;
            };
            watched = true;
            if self.is_paused(slot as u32) {
                // We do not read from it: its silence says nothing.
                self.seen(slot as u32, now);
                continue;
            }
            let over = keep_alive::deadline(watch.last_seen, watch.keep_alive_s)
                .is_some_and(|at| at <= now);
            if over && !mutant::is_active(Mutant::KeepAliveIgnored) {
                self.end_by_server(
                    slot as u32,
                    ReasonCode::KeepAliveTimeout,
                    "no packet within 1.5 times Keep Alive",
                    now,
                );
            }
        }
        self.next_scan = watched.then(|| now + KEEP_ALIVE_SCAN_MS);
    }
}
