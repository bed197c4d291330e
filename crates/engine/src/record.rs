//! Durable records: what the broker would have to know again after a crash, and the port to
//! whatever keeps them.
//!
//! A record is a change: it sets a key or deletes one. All records that belong to one
//! acknowledgement leave in one [`Batch`], which a store applies whole or not at all. Keys begin with the kind
//! and the partition, so that partitions can move and a kind can be scanned in order.

use std::sync::Arc;

use dunlin_packet::QoS;
use dunlin_protocol::Timestamp;

use crate::io::ShareId;
use crate::message::{Message, Origin, Publisher};
use crate::partition::partition_of;

/// Version of the encoding, the first byte of every value.
pub const FORMAT: u8 = 1;

/// Records that become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rising per engine; the answer names it.
    pub id: u64,
    /// In the order in which they apply.
    pub records: Vec<Record>,
}

/// Why a batch is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space is left, or a configured bound is reached.
    Full,
    /// Reading or writing failed.
    Io,
    /// The store is being reopened.
    Unavailable,
}

/// Keeps batches. Answers may come late and in any order.
pub trait Store {
    /// Takes a batch.
    fn submit(&mut self, batch: Batch);
    /// The next answer: a batch's id, and whether it is as safe as its contract says.
    fn poll(&mut self) -> Option<(u64, Result<(), StoreError>)>;
}

/// The wall clock, in milliseconds since 1970, at [`Timestamp`] zero. Records hold wall-clock
/// instants, since a monotonic clock ends with its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallEpoch(pub u64);

impl WallEpoch {
    /// The wall-clock instant of a monotonic one, in milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(self, at: Timestamp) -> u64 {
        self.0.saturating_add(at.as_millis())
    }
}

/// One change to what must survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A Session exists.
    Session {
        /// Whose.
        client_id: Arc<str>,
        /// Seconds that it outlives its connection; `u32::MAX` for ever.
        expiry_interval_s: u32,
        /// The user that it is bound to.
        user_name: Option<Arc<str>>,
    },
    /// A Session ended, with everything that was its own.
    SessionEnded {
        /// Whose.
        client_id: Arc<str>,
    },
    /// A Subscription was made or replaced.
    Subscription {
        /// Whose.
        client_id: Arc<str>,
        /// `$share/NAME/` included.
        filter: Box<str>,
        /// As in SUBSCRIBE: QoS, No Local, Retain As Published.
        options: u8,
        /// 0 for none.
        identifier: u32,
    },
    /// A Subscription was deleted.
    SubscriptionEnded {
        /// Whose.
        client_id: Arc<str>,
        /// `$share/NAME/` included.
        filter: Box<str>,
    },
    /// The body of a message, written once for all who refer to its origin.
    Body {
        /// The message.
        message: Arc<Message>,
    },
    /// A message waits for a Session, or is in flight to it.
    Queued {
        /// Whose queue.
        client_id: Arc<str>,
        /// Its place there; the Packet Identifier follows from it.
        sequence: u64,
        /// Which body.
        origin: Origin,
        /// Granted QoS.
        qos: QoS,
        /// RETAIN to send.
        retain: bool,
        /// Subscription Identifiers to send.
        identifiers: Box<[u32]>,
        /// The Shared Subscription that it came by.
        share: Option<Arc<ShareId>>,
    },
    /// The client has acknowledged it, or it moved on.
    QueuedEnded {
        /// Whose queue.
        client_id: Arc<str>,
        /// Its place there.
        sequence: u64,
    },
    /// PUBREC was received for it: only PUBREL is owed.
    Released {
        /// Whose queue.
        client_id: Arc<str>,
        /// Its place there.
        sequence: u64,
    },
    /// A QoS 2 Packet Identifier of a publisher is open.
    Held {
        /// Which publisher.
        client_id: Arc<str>,
        /// Its identifier.
        packet_id: u16,
    },
    /// PUBREL closed it.
    HeldEnded {
        /// Which publisher.
        client_id: Arc<str>,
        /// Its identifier.
        packet_id: u16,
    },
    /// A topic's retained message.
    Retained {
        /// Which topic.
        topic: Arc<str>,
        /// Which body.
        origin: Origin,
        /// Its place among the changes.
        version: u64,
    },
    /// A topic has no retained message any more.
    RetainedEnded {
        /// Which topic.
        topic: Arc<str>,
        /// Its place among the changes.
        version: u64,
    },
    /// A Will is armed.
    Will {
        /// Whose.
        client_id: Arc<str>,
        /// Its Topic Name.
        topic: Arc<str>,
        /// Encoded properties to pass on, then the payload.
        body: Box<[u8]>,
        /// How many of those bytes are properties.
        properties_len: u32,
        /// QoS to publish with.
        qos: QoS,
        /// Publish as retained.
        retain: bool,
        /// Will Delay Interval, seconds.
        delay_s: u32,
        /// Message Expiry Interval, seconds, from its publication on.
        message_expiry_s: Option<u32>,
        /// Who it will be published for.
        publisher: Arc<Publisher>,
    },
    /// A Will was published or removed.
    WillEnded {
        /// Whose.
        client_id: Arc<str>,
    },
}

impl Record {
    /// The partition that owns the record.
    #[must_use]
    pub fn partition(&self) -> u16 {
        match self {
            Self::Session { client_id, .. }
            | Self::SessionEnded { client_id }
            | Self::Subscription { client_id, .. }
            | Self::SubscriptionEnded { client_id, .. }
            | Self::Queued { client_id, .. }
            | Self::QueuedEnded { client_id, .. }
            | Self::Released { client_id, .. }
            | Self::Held { client_id, .. }
            | Self::HeldEnded { client_id, .. }
            | Self::Will { client_id, .. }
            | Self::WillEnded { client_id } => partition_of(client_id.as_bytes()),
            Self::Retained { topic, .. } | Self::RetainedEnded { topic, .. } => {
                partition_of(topic.as_bytes())
            }
            Self::Body { message } => message.origin.partition,
        }
    }

    /// The key: kind, partition, and what tells records of a kind apart. Numbers are big-endian so
    /// that keys sort by them.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = vec![self.kind()];
        key.extend_from_slice(&self.partition().to_be_bytes());
        match self {
            Self::Session { client_id, .. }
            | Self::SessionEnded { client_id }
            | Self::Will { client_id, .. }
            | Self::WillEnded { client_id } => put_text(&mut key, client_id),
            Self::Subscription {
                client_id, filter, ..
            }
            | Self::SubscriptionEnded { client_id, filter } => {
                put_text(&mut key, client_id);
                put_text(&mut key, filter);
            }
            Self::Queued {
                client_id,
                sequence,
                ..
            }
            | Self::QueuedEnded {
                client_id,
                sequence,
            }
            | Self::Released {
                client_id,
                sequence,
            } => {
                put_text(&mut key, client_id);
                key.extend_from_slice(&sequence.to_be_bytes());
            }
            Self::Held {
                client_id,
                packet_id,
            }
            | Self::HeldEnded {
                client_id,
                packet_id,
            } => {
                put_text(&mut key, client_id);
                key.extend_from_slice(&packet_id.to_be_bytes());
            }
            Self::Retained { topic, .. } | Self::RetainedEnded { topic, .. } => {
                put_text(&mut key, topic)
            }
            Self::Body { message } => key.extend_from_slice(&message.origin.sequence.to_be_bytes()),
        }
        key
    }

    /// The value, or `None` where the record deletes its key.
    #[must_use]
    pub fn value(&self, epoch: WallEpoch) -> Option<Vec<u8>> {
        let mut value = vec![FORMAT];
        match self {
            Self::SessionEnded { .. }
            | Self::SubscriptionEnded { .. }
            | Self::QueuedEnded { .. }
            | Self::HeldEnded { .. }
            | Self::RetainedEnded { .. }
            | Self::WillEnded { .. } => return None,
            Self::Session {
                expiry_interval_s,
                user_name,
                ..
            } => {
                value.extend_from_slice(&expiry_interval_s.to_be_bytes());
                put_text(&mut value, user_name.as_deref().unwrap_or_default());
            }
            Self::Subscription {
                options,
                identifier,
                ..
            } => {
                value.push(*options);
                value.extend_from_slice(&identifier.to_be_bytes());
            }
            Self::Body { message } => put_body(&mut value, message, epoch),
            Self::Queued {
                origin,
                qos,
                retain,
                identifiers,
                share,
                ..
            } => {
                put_origin(&mut value, *origin);
                value.push(*qos as u8 | u8::from(*retain) << 2);
                value.extend_from_slice(&(identifiers.len() as u16).to_be_bytes());
                identifiers
                    .iter()
                    .for_each(|id| value.extend_from_slice(&id.to_be_bytes()));
                if let Some(share) = share {
                    put_text(&mut value, &share.name);
                    put_text(&mut value, &share.filter);
                }
            }
            Self::Released { .. } => value.push(1),
            Self::Held { .. } => {}
            Self::Retained {
                origin, version, ..
            } => {
                put_origin(&mut value, *origin);
                value.extend_from_slice(&version.to_be_bytes());
            }
            Self::Will {
                topic,
                body,
                properties_len,
                qos,
                retain,
                delay_s,
                message_expiry_s,
                publisher,
                ..
            } => {
                put_text(&mut value, topic);
                value.push(*qos as u8 | u8::from(*retain) << 2);
                value.extend_from_slice(&delay_s.to_be_bytes());
                value.push(u8::from(message_expiry_s.is_some()));
                value.extend_from_slice(&message_expiry_s.unwrap_or(0).to_be_bytes());
                put_text(
                    &mut value,
                    publisher.principal.user_name.as_deref().unwrap_or_default(),
                );
                put_text(&mut value, &publisher.principal.address);
                value.extend_from_slice(&properties_len.to_be_bytes());
                value.extend_from_slice(body);
            }
        }
        Some(value)
    }

    /// A letter per kind. A receipt replaces the queue record that it belongs to.
    fn kind(&self) -> u8 {
        match self {
            Self::Session { .. } | Self::SessionEnded { .. } => b's',
            Self::Subscription { .. } | Self::SubscriptionEnded { .. } => b'f',
            Self::Body { .. } => b'b',
            Self::Queued { .. } | Self::QueuedEnded { .. } | Self::Released { .. } => b'q',
            Self::Held { .. } | Self::HeldEnded { .. } => b'h',
            Self::Retained { .. } | Self::RetainedEnded { .. } => b'r',
            Self::Will { .. } | Self::WillEnded { .. } => b'w',
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Client Identifiers, Topic Names and Topic Filters are at most 65,535 bytes long.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    out.extend_from_slice(&origin.partition.to_be_bytes());
    out.extend_from_slice(&origin.sequence.to_be_bytes());
}

fn put_body(out: &mut Vec<u8>, message: &Message, epoch: WallEpoch) {
    put_text(out, &message.topic);
    put_text(out, &message.publisher.client_id);
    put_text(
        out,
        message
            .publisher
            .principal
            .user_name
            .as_deref()
            .unwrap_or_default(),
    );
    put_text(out, &message.publisher.principal.address);
    out.push(message.qos as u8 | u8::from(message.retain) << 2);
    let expires_at = message.expires_at.map_or(0, |at| epoch.wall_ms(at));
    out.extend_from_slice(&epoch.wall_ms(message.received_at).to_be_bytes());
    out.extend_from_slice(&expires_at.to_be_bytes());
    out.extend_from_slice(&(message.forwarded().len() as u32).to_be_bytes());
    out.extend_from_slice(message.forwarded());
    out.extend_from_slice(message.payload());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(sequence: u64) -> Record {
        Record::Queued {
            client_id: "c".into(),
            sequence,
            origin: Origin {
                partition: 7,
                sequence: 9,
            },
            qos: QoS::ExactlyOnce,
            retain: true,
            identifiers: Box::new([3, 4]),
            share: None,
        }
    }

    #[test]
    fn a_queue_record_names_its_place_and_its_body() {
        let record = queued(258);
        let partition = partition_of(b"c").to_be_bytes();
        let mut key = vec![b'q', partition[0], partition[1], 0, 1, b'c'];
        key.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(record.key(), key);
        let value = record.value(WallEpoch::default()).unwrap();
        assert_eq!(
            value,
            [
                1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0b110, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4
            ]
        );
    }

    #[test]
    fn a_deletion_has_the_key_of_what_it_deletes() {
        let gone = Record::QueuedEnded {
            client_id: "c".into(),
            sequence: 258,
        };
        assert_eq!(gone.key(), queued(258).key());
        assert_eq!(gone.value(WallEpoch::default()), None);
        let will = Record::WillEnded {
            client_id: "c".into(),
        };
        assert_eq!(will.key()[0], b'w');
        assert_eq!(will.value(WallEpoch::default()), None);
    }

    #[test]
    fn keys_of_one_queue_sort_by_sequence() {
        let keys: Vec<_> = [1, 255, 256, 70_000]
            .map(|sequence| queued(sequence).key())
            .into();
        assert!(keys.is_sorted());
    }

    #[test]
    fn instants_are_written_as_wall_clock() {
        let epoch = WallEpoch(1_000_000);
        assert_eq!(epoch.wall_ms(Timestamp::from_millis(5)), 1_000_005);
    }
}
