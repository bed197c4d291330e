//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{
    PacketId, QoS, ReasonCode, RetainHandling, SharedFilter, Subscribe, SubscriptionOptions,
    TopicFilter, Unsubscribe,
};
use dunlin_protocol::{AckKind, Timestamp};
use dunlin_route::Grant;
use hashbrown::HashMap;

use crate::authorize::Access;
use crate::commit::{After, Draft};
use crate::connection::PendingAck;
use crate::engine::Engine;
use crate::io::{Event, Handover, ReplyTo, ShareId};
use crate::partition::partition_of;
use crate::record::Record;
use crate::session::Subscription;

/// One line of a SUBSCRIBE.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The Topic Filter, `$share/NAME/` included.
    text: &'a str,
    options: SubscriptionOptions,
    /// Subscription Identifier, 0 for none.
    identifier: u32,
}

/// What a SUBSCRIBE brings about, beside its codes.
struct Effects {
    draft: Draft,
    /// Cursors over retained messages, to be started behind SUBACK.
    cursors: Vec<u64>,
}

impl Engine {
    /// v5[MQTT-3.8.4-1], v5[MQTT-3.8.4-5]
    pub(crate) fn subscribe_received(
        &mut self,
        slot: u32,
        subscribe: &Subscribe<'_>,
        now: Timestamp,
    ) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let identifier = subscribe
            .properties
            .subscription_identifiers()
            .next()
            .unwrap_or(0);
        let mut effects = Effects {
            draft: self.jobs.draft(self.worker),
            cursors: Vec::new(),
        };
        let mut codes = Vec::new();
        for (text, options) in subscribe.filters() {
            let asked = Asked {
                text,
                options,
                identifier,
            };
            codes.push(self.subscribe_one(session, asked, &mut effects, now));
        }
        let Effects { draft, cursors } = effects;
        let codes = self.codes_for(slot, codes);
        if draft.records.is_empty() && draft.missing == 0 {
            self.acknowledge(
                slot,
                AckKind::Suback,
                PendingAck::Suback(subscribe.packet_id, codes),
            );
            return self.start_cursors(slot, &cursors, now);
        }
        let Some(ticket) = self.wait(slot, AckKind::Suback) else {
            return;
        };
        let after = After::Suback {
            ticket,
            packet_id: subscribe.packet_id,
            codes,
            cursors,
        };
        self.finish_draft(Some(slot), draft, after);
    }

    /// 3.x knows one code for every refusal.
    fn codes_for(&self, slot: u32, codes: Vec<ReasonCode>) -> Box<[u8]> {
        let v5 = self.version_of(slot).is_some_and(|version| version.is_v5());
        let code = |reason: ReasonCode| {
            if reason.is_error() && !v5 {
                0x80
            } else {
                reason.code()
            }
        };
        codes.into_iter().map(code).collect()
    }

    fn subscribe_one(
        &mut self,
        slot: u32,
        asked: Asked<'_>,
        effects: &mut Effects,
        now: Timestamp,
    ) -> ReasonCode {
        let Asked {
            text,
            options,
            identifier,
        } = asked;
        let share = match parse_filter(text) {
            Ok(share) => share,
            Err(reason) => return reason,
        };
        if text.split('/').count() > usize::from(self.limits.topic_levels_max) {
            return ReasonCode::TopicFilterInvalid;
        }
        let max = self.limits.subscriptions_max as usize;
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return ReasonCode::UnspecifiedError;
        };
        let existed = session.is_subscribed(text);
        let count = session.subscriptions.get().map_or(0, HashMap::len);
        if !existed && max != 0 && count >= max {
            return ReasonCode::QuotaExceeded;
        }
        let plain = share.as_ref().map_or(text, |share| &share.filter);
        if let Some(authorizer) = &self.authorizer
            && !authorizer.allows(
                &session.publisher.principal,
                &session.publisher.client_id,
                Access::Subscribe,
                plain,
            )
        {
            return ReasonCode::NotAuthorized;
        }
        let bridge = session
            .connection
            .and_then(|at| self.connections.get(at as usize)?.live())
            .is_some_and(|live| live.bridge);
        let grant = Grant {
            qos: options.qos as u8,
            no_local: options.no_local || bridge,
            retain_as_published: options.retain_as_published || bridge,
            subscription_id: identifier,
        };
        let (key, client_id) = (session.key, Arc::clone(&session.publisher.client_id));
        // v5[MQTT-3.8.4-3]
        let subscriptions = session
            .subscriptions
            .make_with(|| HashMap::with_hasher(self.hasher.clone()));
        let share_id = share.clone();
        subscriptions.insert(text.into(), Subscription { share: share_id });
        if self.durable && session.is_durable() {
            let record = Record::Subscription {
                client_id: Arc::clone(&client_id),
                filter: text.into(),
                options: options.to_byte(),
                identifier,
            };
            effects.draft.records.push(record);
        }
        match share {
            None => {
                self.routes.subscribe(text, key, grant);
                // v5[MQTT-3.3.1-9], v5[MQTT-3.3.1-10], v5[MQTT-3.3.1-11]
                let wanted = match options.retain_handling {
                    RetainHandling::SendAtSubscribe => true,
                    RetainHandling::SendIfNew => {
                        !existed || mutant::is_active(Mutant::IgnoreRetainHandling1)
                    }
                    RetainHandling::DoNotSend => false,
                };
                self.drop_cursor(slot, text);
                if wanted {
                    effects.cursors.extend(self.add_cursor(slot, text, grant));
                }
            }
            Some(share) => self.join_remote_or_local(&share, slot, grant, &mut effects.draft, now),
        }
        if self.limits.tell_subscriptions {
            let filter = text.to_owned();
            self.event(Event::Subscribed {
                client_id,
                filter,
                qos: grant.qos,
            });
        }
        granted(options.qos)
    }

    fn join_remote_or_local(
        &mut self,
        share: &Arc<ShareId>,
        slot: u32,
        grant: Grant,
        draft: &mut Draft,
        now: Timestamp,
    ) {
        let Some(session) = self.sessions.get(slot as usize) else {
            return;
        };
        let session = session.key;
        let owner = self.owner_of(share_partition(share));
        let merged = crate::shared::merged(grant);
        if owner == self.worker {
            return self.join_group(share, session, &merged, now);
        }
        draft.missing += 1;
        let reply = Some(ReplyTo {
            worker: self.worker,
            job: draft.id,
        });
        self.hand_over(
            owner,
            Handover::Join {
                share: Arc::clone(share),
                session,
                merged,
                reply,
            },
            now,
        );
    }

    /// v5[MQTT-3.10.4-1], v5[MQTT-3.10.4-4], v5[MQTT-3.10.4-6]
    pub(crate) fn unsubscribe_received(
        &mut self,
        slot: u32,
        unsubscribe: &Unsubscribe<'_>,
        now: Timestamp,
    ) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let mut draft = self.jobs.draft(self.worker);
        let mut codes = Vec::new();
        for filter in unsubscribe.filters() {
            codes.push(
                self.unsubscribe_one(session, filter, &mut draft, now)
                    .code(),
            );
        }
        if let Some(state) = self.sessions.get_mut(session as usize) {
            state.unsubscribed_at = self.routes.version();
        }
        let done = PendingAck::Unsuback(unsubscribe.packet_id, codes.into_boxed_slice());
        self.answer_unsubscribe(slot, unsubscribe.packet_id, draft, done);
    }

    fn answer_unsubscribe(&mut self, slot: u32, _id: PacketId, draft: Draft, done: PendingAck) {
        if draft.records.is_empty() && draft.missing == 0 {
            return self.acknowledge(slot, AckKind::Suback, done);
        }
        let Some(ticket) = self.wait(slot, AckKind::Suback) else {
            return;
        };
        self.finish_draft(Some(slot), draft, After::Ack { ticket, ack: done });
    }

    fn unsubscribe_one(
        &mut self,
        slot: u32,
        text: &str,
        draft: &mut Draft,
        now: Timestamp,
    ) -> ReasonCode {
        if parse_filter(text).is_err() {
            return ReasonCode::TopicFilterInvalid;
        }
        let durable = self.durable;
        if mutant::is_active(Mutant::UnsubscribeKeeps) {
            return ReasonCode::Success;
        }
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return ReasonCode::UnspecifiedError;
        };
        let subscriptions = session.subscriptions.get_mut();
        let Some(subscription) = subscriptions.and_then(|all| all.remove(text)) else {
            // v5[MQTT-3.10.4-5]
            let lie = mutant::is_active(Mutant::UnsubackSuccessForUnknown);
            return if lie {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
        };
        let (key, client_id) = (session.key, Arc::clone(&session.publisher.client_id));
        if durable && session.is_durable() {
            draft.records.push(Record::SubscriptionEnded {
                client_id: Arc::clone(&client_id),
                filter: text.into(),
            });
        }
        match subscription.share {
            None => {
                self.routes.unsubscribe(text, key);
                self.drop_cursor(slot, text);
            }
            Some(share) => {
                let owner = self.owner_of(share_partition(&share));
                if owner == self.worker {
                    self.leave_group(&share, key);
                } else {
                    draft.missing += 1;
                    let reply = Some(ReplyTo {
                        worker: self.worker,
                        job: draft.id,
                    });
                    self.hand_over(
                        owner,
                        Handover::Leave {
                            share,
                            session: key,
                            reply,
                        },
                        now,
                    );
                }
            }
        }
        if self.limits.tell_subscriptions {
            let filter = text.to_owned();
            self.event(Event::Unsubscribed { client_id, filter });
        }
        ReasonCode::Success
    }
}

/// The Shared Subscription that a filter names, or `None` for a plain one.
fn parse_filter(text: &str) -> Result<Option<Arc<ShareId>>, ReasonCode> {
    match SharedFilter::parse(text) {
        Ok(Some(shared)) => Ok(Some(Arc::new(ShareId {
            name: shared.share_name.into(),
            filter: shared.filter.as_str().into(),
        }))),
        Ok(None) => match TopicFilter::new(text) {
            Ok(_) => Ok(None),
            Err(_) => Err(ReasonCode::TopicFilterInvalid),
        },
        Err(_) => Err(ReasonCode::TopicFilterInvalid),
    }
}

/// The partition that chooses among the members of a Shared Subscription.
pub(crate) fn share_partition(share: &ShareId) -> u16 {
    let mut name = share.name.as_bytes().to_vec();
    name.push(b'/');
    name.extend_from_slice(share.filter.as_bytes());
    partition_of(&name)
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
