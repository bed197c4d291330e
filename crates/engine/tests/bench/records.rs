//! Durable records as lines of text, and what a crash would leave of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use dunlin_engine::message::Message;
use dunlin_engine::record::{Record, WallEpoch};

use super::packets::shown;

/// One record in a line.
pub(super) fn line(record: &Record) -> String {
    match record {
        Record::Session {
            client_id,
            expiry_interval_s,
            user_name,
            ..
        } => {
            let user = user_name.as_ref().map(|name| format!(" user {name}"));
            let user = user.unwrap_or_default();
            format!("session {client_id} expiry {expiry_interval_s}{user}")
        }
        Record::SessionEnded { client_id } => format!("session-ended {client_id}"),
        Record::Subscription {
            client_id,
            filter,
            options,
            identifier,
        } => {
            format!("subscription {client_id} {filter} {options:#04x} id {identifier}")
        }
        Record::SubscriptionEnded { client_id, filter } => {
            format!("subscription-ended {client_id} {filter}")
        }
        Record::Body { message } => body(message),
        Record::Queued { .. } => queued(record),
        Record::QueuedEnded {
            client_id,
            sequence,
        } => format!("queued-ended {client_id} #{sequence}"),
        Record::Released {
            client_id,
            sequence,
        } => format!("released {client_id} #{sequence}"),
        Record::Held {
            client_id,
            packet_id,
        } => format!("held {client_id} {packet_id}"),
        Record::HeldEnded {
            client_id,
            packet_id,
        } => format!("held-ended {client_id} {packet_id}"),
        Record::Retained { topic, version, .. } => format!("retained {topic} v{version}"),
        Record::RetainedEnded { topic, version } => format!("retained-ended {topic} v{version}"),
        Record::Will { .. } => will(record),
        Record::WillEnded { client_id } => format!("will-ended {client_id}"),
    }
}

fn body(message: &Message) -> String {
    let retain = if message.retain { " retain" } else { "" };
    let (topic, from) = (&message.topic, &message.publisher.client_id);
    let qos = message.qos.bits();
    format!(
        "body {topic}={} q{qos}{retain} from {from}",
        shown(message.payload())
    )
}

fn queued(record: &Record) -> String {
    let Record::Queued {
        client_id,
        sequence,
        qos,
        retain,
        identifiers,
        share,
        ..
    } = record
    else {
        return String::new();
    };
    let mut line = format!("queued {client_id} #{sequence} q{}", qos.bits());
    if *retain {
        line.push_str(" retain");
    }
    if !identifiers.is_empty() {
        let mut sorted = identifiers.to_vec();
        sorted.sort_unstable();
        write!(line, " ids{sorted:?}").unwrap();
    }
    if let Some(share) = share {
        write!(line, " share {}/{}", share.name, share.filter).unwrap();
    }
    line
}

fn will(record: &Record) -> String {
    let Record::Will {
        client_id,
        topic,
        body,
        properties_len,
        qos,
        retain,
        delay_s,
        ..
    } = record
    else {
        return String::new();
    };
    let payload = shown(&body[*properties_len as usize..]);
    let retain = if *retain { " retain" } else { "" };
    format!(
        "will {client_id} {topic}={payload} q{}{retain} delay {delay_s}",
        qos.bits()
    )
}

/// Keys and the records behind them.
#[derive(Default)]
pub(super) struct Disk(BTreeMap<Vec<u8>, Record>);

impl Disk {
    /// Applies the changes of one batch.
    pub(super) fn apply(&mut self, records: &[Record]) {
        for record in records {
            if let Record::SessionEnded { client_id } = record {
                self.0.retain(|_, held| !belongs_to(held, client_id));
            } else if record.value(WallEpoch::default()).is_some() {
                self.0.insert(record.key(), record.clone());
            } else {
                self.0.remove(&record.key());
            }
        }
    }

    /// The records that are left, as lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.values().map(line).collect()
    }
}

/// Whether a record is of a Session's own, and goes with it. A Will does not.
fn belongs_to(record: &Record, session: &Arc<str>) -> bool {
    match record {
        Record::Session { client_id, .. }
        | Record::Subscription { client_id, .. }
        | Record::Queued { client_id, .. }
        | Record::Released { client_id, .. }
        | Record::Held { client_id, .. } => client_id == session,
        _ => false,
    }
}
