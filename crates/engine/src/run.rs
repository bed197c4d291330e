//! Runs: messages at QoS 0 of one publisher to one Topic Name, handed to another worker in one piece.
//!
//! A message of its own would be made on this worker's heap and freed on the other's, and its topic, its
//! targets and its publisher would be counted up and down by both; all that costs more than delivering it. A run
//! pays once, and what it holds of each message is a copy of its bytes.

use std::sync::Arc;

use dunlin_protocol::Timestamp;
use dunlin_route::{SessionKey, Target};

use crate::engine::Engine;
use crate::io::{Handover, Output};
use crate::limits::{PAYLOAD_BY_REFERENCE_MIN, RUN_BYTES_MAX};
use crate::message::{Incoming, Origin, Publisher};

/// See the module.
#[derive(Debug)]
pub struct Run {
    topic: Arc<str>,
    publisher: Arc<Publisher>,
    targets: Arc<[Target]>,
    /// Version of the route index that the targets know of.
    generation: u64,
    /// The Session that published, for No Local.
    from: Option<SessionKey>,
    /// Properties and payload of each message, one behind the other.
    bytes: Vec<u8>,
    messages: Vec<InRun>,
}

/// What differs from message to message.
#[derive(Debug)]
struct InRun {
    forwarded_len: usize,
    payload_len: usize,
    received_at: Timestamp,
    expires_at: Option<Timestamp>,
    origin: Origin,
}

impl Run {
    /// How many messages it holds.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages.len() as u32
    }

    fn takes(
        &self,
        incoming: &Incoming<'_>,
        targets: &Arc<[Target]>,
        from: Option<SessionKey>,
    ) -> bool {
        Arc::ptr_eq(&self.targets, targets)
            && Arc::ptr_eq(&self.topic, incoming.topic)
            && Arc::ptr_eq(&self.publisher, incoming.publisher)
            && self.from == from
            && self.bytes.len() < RUN_BYTES_MAX
    }

    fn push(&mut self, incoming: &Incoming<'_>) {
        self.bytes.extend_from_slice(incoming.forwarded);
        self.bytes.extend_from_slice(incoming.payload);
        self.messages.push(InRun {
            forwarded_len: incoming.forwarded.len(),
            payload_len: incoming.payload.len(),
            received_at: incoming.received_at,
            expires_at: incoming.expires_at,
            origin: incoming.origin,
        });
    }
}

/// The runs that are still growing, one for each worker at most.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    open: Vec<Option<Box<Run>>>,
    count: usize,
}

impl Runs {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn take(&mut self, to: u16) -> Option<Box<Run>> {
        let run = self.open.get_mut(usize::from(to))?.take()?;
        self.count -= 1;
        Some(run)
    }
}

impl Engine {
    /// Puts a message into the run to another worker, if it is one for a run. False otherwise.
    pub(crate) fn extend_run(
        &mut self,
        to: u16,
        incoming: &Incoming<'_>,
        targets: &Arc<[Target]>,
        from: Option<SessionKey>,
    ) -> bool {
        let fits = incoming.qos == dunlin_packet::QoS::AtMostOnce
            && !incoming.retain
            && incoming.payload.len() + incoming.forwarded.len() < PAYLOAD_BY_REFERENCE_MIN;
        if !fits {
            return false;
        }
        let open = self.runs.open.get(usize::from(to));
        let goes_on = open
            .and_then(Option::as_ref)
            .is_some_and(|run| run.takes(incoming, targets, from));
        if !goes_on {
            self.close_run(to);
            let run = Run {
                topic: Arc::clone(incoming.topic),
                publisher: Arc::clone(incoming.publisher),
                targets: Arc::clone(targets),
                // Of the first message: an older version is looked at twice, a newer one would not be.
                generation: self.route_version,
                from,
                bytes: Vec::new(),
                messages: Vec::new(),
            };
            let at = usize::from(to);
            if self.runs.open.len() <= at {
                self.runs.open.resize_with(at + 1, || None);
            }
            if let Some(place) = self.runs.open.get_mut(at) {
                *place = Some(Box::new(run));
                self.runs.count += 1;
            }
        }
        if let Some(Some(run)) = self.runs.open.get_mut(usize::from(to)) {
            run.push(incoming);
        }
        if let Some(outstanding) = self.outstanding.get_mut(usize::from(to)) {
            *outstanding += 1;
        }
        true
    }

    /// Sends a run off: something else follows it to the same worker.
    #[inline]
    pub(crate) fn close_run(&mut self, to: u16) {
        if !self.runs.is_empty()
            && let Some(run) = self.runs.take(to)
        {
            let item = Handover::Run(run);
            self.outputs.push_back(Output::Handover { to, item });
        }
    }

    /// Sends all runs off, at the end of a turn.
    pub(crate) fn close_runs(&mut self) {
        for to in 0..self.workers {
            self.close_run(to);
        }
    }

    /// Another worker's run for Sessions of ours.
    pub(crate) fn run_arrived(&mut self, run: &Run, now: Timestamp) {
        // A route may be older than an UNSUBSCRIBE that was answered meanwhile.
        let wanted: Vec<&Target> = run
            .targets
            .iter()
            .filter(|target| self.is_wanted(target, run.generation, &run.topic))
            .collect();
        let mut rest = run.bytes.as_slice();
        for message in &run.messages {
            let Some((forwarded, behind)) = rest.split_at_checked(message.forwarded_len) else {
                return;
            };
            let Some((payload, behind)) = behind.split_at_checked(message.payload_len) else {
                return;
            };
            rest = behind;
            let mut incoming = Incoming::new(&run.topic, &run.publisher, message.origin);
            incoming.forwarded = forwarded;
            incoming.payload = payload;
            incoming.received_at = message.received_at;
            incoming.expires_at = message.expires_at;
            self.shapes.begin(wanted.len() > 1);
            for target in &wanted {
                self.deliver(target, &mut incoming, run.from, None, now);
            }
        }
    }
}
