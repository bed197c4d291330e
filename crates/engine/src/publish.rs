//! A PUBLISH of a client: connection rules, authorization, routing, acknowledgement.

use std::rc::Rc;
use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{PacketId, Publish, QoS, ReasonCode};
use dunlin_protocol::aliases::AliasError;
use dunlin_protocol::inbound::Overrun;
use dunlin_protocol::{AckKind, Timestamp};
use dunlin_route::{GroupKey, Lookup, Route, SessionKey, Target, TopicShards};

use crate::commit::{After, Draft};
use crate::connection::PendingAck;
use crate::engine::Engine;
use crate::forwarded::forwarded;
use crate::io::{Event, Handover, ReplyTo};
use crate::limits::{PAYLOAD_BY_REFERENCE_MIN, QueueFull};
use crate::message::{Incoming, Message};
use crate::metrics::DropReason;
use crate::partition::{partition_of, worker_of};
use crate::receive::publish_kind;
use crate::record::Record;
use crate::session::UnsafeYet;

/// Where messages of one Topic Name go, cut up by worker.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) topic: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) shards: TopicShards,
    /// Sessions of this worker.
    pub(crate) local: Vec<Target>,
    /// Sessions of others, by worker.
    pub(crate) remote: Vec<(u16, Arc<[Target]>)>,
    pub(crate) groups: Vec<GroupKey>,
}

/// Targets whose memory is worth keeping from one look-up to the next.
const RESOLVER_TARGETS_MAX: usize = 4096;

/// The memory in which topics are resolved.
#[derive(Default)]
pub(crate) struct Resolver {
    lookup: Lookup,
    route: Route,
    /// The last result that was not worth keeping, to be used again.
    passing: Option<Rc<Resolved>>,
}

impl Resolved {
    fn new(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            generation: 0,
            shards: TopicShards::default(),
            local: Vec::new(),
            remote: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Takes over a route, as the worker `own` of so many sees it.
    fn fill(&mut self, route: &mut Route, own: u16, workers: u16) {
        (self.generation, self.shards) = (route.generation, route.shards);
        self.groups.clear();
        self.groups.reserve_exact(route.groups.len());
        self.groups.append(&mut route.groups);
        self.local.clear();
        self.remote.clear();
        if workers <= 1 {
            self.local.reserve_exact(route.direct.len());
            self.local.append(&mut route.direct);
            return;
        }
        let mut by_worker: Vec<Vec<Target>> = vec![Vec::new(); usize::from(workers)];
        for target in route.direct.drain(..) {
            let worker = worker_of(target.session.partition, workers);
            if let Some(list) = by_worker.get_mut(usize::from(worker)) {
                list.push(target);
            }
        }
        for (worker, targets) in (0u16..).zip(by_worker) {
            if worker == own {
                self.local = targets;
            } else if !targets.is_empty() {
                self.remote.push((worker, targets.into()));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty() && self.groups.is_empty()
    }
}

/// A message that another worker has routed to Sessions of ours.
pub(crate) struct Elsewhere {
    pub(crate) message: Arc<Message>,
    pub(crate) targets: Arc<[Target]>,
    /// Version of the route index that the targets know of.
    pub(crate) generation: u64,
    pub(crate) from: Option<SessionKey>,
    pub(crate) reply: Option<ReplyTo>,
}

/// The Topic Name has more levels than `max_topic_levels`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyLevels;

impl Engine {
    pub(crate) fn publish_received(&mut self, slot: u32, publish: &Publish<'_>, now: Timestamp) {
        self.metrics.publish_received += 1;
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let offer = &connection.offer;
        if publish.qos > offer.maximum_qos {
            return self.end_by_server(slot, ReasonCode::QoSNotSupported, "QoS above max_qos", now);
        }
        if publish.retain && !offer.retain_available {
            return self.end_by_server(
                slot,
                ReasonCode::RetainNotSupported,
                "RETAIN is switched off",
                now,
            );
        }
        let Some(live) = connection.live() else {
            return;
        };
        let (session, receive_maximum) = (live.session, live.receive_maximum);
        let publisher = Arc::clone(&live.publisher);
        let resolved = match self.resolve_published(slot, publish) {
            Ok(resolved) => resolved,
            Err((reason, why)) => return self.end_by_server(slot, reason, why, now),
        };
        let Some(state) = self.sessions.get_mut(session as usize) else {
            return;
        };
        let key = state.key;
        let strict = self.limits.receive_maximum_strict;
        if let Some(id) = publish.packet_id {
            let overrun = if publish.qos == QoS::ExactlyOnce {
                // v5[MQTT-4.3.3-10]
                if !state.inbound.hold(id) && !mutant::is_active(Mutant::Qos2DuplicateDelivered) {
                    return self.publish_again(slot, session, id);
                }
                state.inbound.check_quota(receive_maximum, strict)
            } else {
                state.inbound.check_arrival(receive_maximum, strict)
            };
            match overrun {
                Overrun::Accept => {}
                Overrun::Warn => {
                    let client_id = Arc::clone(&publisher.client_id);
                    self.event(Event::ReceiveMaximumExceeded {
                        client_id,
                        receive_maximum,
                    });
                }
                Overrun::Disconnect => {
                    // It was not accepted: sent again later, it is new.
                    if publish.qos == QoS::ExactlyOnce {
                        state.inbound.release(id);
                    }
                    let why = "more open PUBLISH packets than Receive Maximum";
                    return self.end_by_server(slot, ReasonCode::ReceiveMaximumExceeded, why, now);
                }
            }
        }
        if let Some((reason, dropped)) = self.check_content(session, &resolved.topic, publish) {
            return self.refuse_publish(slot, session, publish, reason, dropped, now);
        }
        let mut scratch = std::mem::take(&mut self.forwarded_scratch);
        let origin = self.origin(key.partition);
        let mut incoming = Incoming::new(&resolved.topic, &publisher, origin);
        incoming.received_at = now;
        incoming.payload = publish.payload;
        incoming.forwarded = forwarded(publish.properties, &mut scratch);
        incoming.qos = publish.qos;
        incoming.retain = publish.retain;
        // One receiver of a large payload gets it from where it was read; several share one copy, so that slow
        // ones do not make one each. At QoS 1 and 2 it is kept anyway.
        let fits = publish.qos == QoS::AtMostOnce && resolved.local.len() == 1;
        if fits && publish.payload.len() >= PAYLOAD_BY_REFERENCE_MIN {
            incoming.read_buffer.clone_from(&self.read_buffer);
        }
        if !publish.properties.is_empty()
            && let Some(seconds) = publish.properties.message_expiry_interval()
        {
            incoming.expires_at = Some(now.plus_seconds(u64::from(seconds)));
        }
        self.publish_from(slot, &resolved, &mut incoming, key, publish, now);
        scratch.clear();
        self.forwarded_scratch = scratch;
    }

    /// A QoS 2 PUBLISH that was seen before: acknowledged, not delivered. Not before its effects are safe.
    fn publish_again(&mut self, slot: u32, session: u32, id: PacketId) {
        let here = self.key_of(slot);
        let open = self.sessions.get(session as usize).and_then(|session| {
            let open = |open: &UnsafeYet| open.id == id && Some(open.connection) != here;
            session.rare.get()?.unsafe_yet.iter().position(open)
        });
        if let Some(at) = open {
            let ticket = self.wait(slot, AckKind::Pubrec);
            if let Some(session) = self.sessions.get_mut(session as usize)
                && let Some(open) = session.rare.make().unsafe_yet.get_mut(at)
            {
                open.again = here.zip(ticket);
            }
            return;
        }
        let ack = PendingAck::Pubrec(id, ReasonCode::Success);
        self.acknowledge(slot, AckKind::Pubrec, ack);
    }

    /// Routes a client's message and acknowledges it, now or when its effects are safe.
    fn publish_from(
        &mut self,
        slot: u32,
        resolved: &Rc<Resolved>,
        incoming: &mut Incoming<'_>,
        key: SessionKey,
        publish: &Publish<'_>,
        now: Timestamp,
    ) {
        let kind = publish_kind(publish.qos);
        // Whoever subscribes after the acknowledgement must find the retained message, on whichever worker.
        let retained_elsewhere = incoming.retain
            && self.owner_of(partition_of(incoming.topic.as_bytes())) != self.worker;
        let waits = self.durable
            || (kind.is_some()
                && (self.limits.queue_full == QueueFull::Reject || retained_elsewhere));
        if !waits {
            let taken = self.route(resolved, incoming, Some(key), Some(slot), None, now);
            if let (Some(kind), Some(id)) = (kind, publish.packet_id) {
                let reason = if taken {
                    ReasonCode::Success
                } else {
                    ReasonCode::NoMatchingSubscribers
                };
                self.acknowledge(slot, kind, PendingAck::publish(kind, id, reason));
            }
            return;
        }
        let mut draft = self.jobs.draft(self.worker);
        self.route(
            resolved,
            incoming,
            Some(key),
            Some(slot),
            Some(&mut draft),
            now,
        );
        if publish.qos == QoS::ExactlyOnce
            && let Some(id) = publish.packet_id
            && self
                .sessions
                .get(key.slot as usize)
                .is_some_and(crate::session::Session::is_durable)
        {
            let client_id = Arc::clone(&incoming.publisher.client_id);
            draft.records.push(Record::Held {
                client_id,
                packet_id: id.get(),
            });
        }
        let after = match (kind, publish.packet_id) {
            (Some(kind), Some(id)) => {
                let Some(ticket) = self.wait(slot, kind) else {
                    return;
                };
                let connection = self.key_of(slot);
                if let Some(session) = self.sessions.get_mut(key.slot as usize) {
                    match connection.filter(|_| kind == AckKind::Pubrec) {
                        Some(connection) => session.rare.make().unsafe_yet.push(UnsafeYet {
                            id,
                            connection,
                            again: None,
                        }),
                        None => session.inbound.wait_begins(),
                    }
                }
                After::Publish {
                    session: key,
                    ticket,
                    packet_id: id,
                    matched: !resolved.is_empty(),
                }
            }
            _ => After::Nothing,
        };
        self.finish_draft(Some(slot), draft, after);
    }

    /// Routes a message that no client's packet brings in this turn (a Will).
    pub(crate) fn publish_own(
        &mut self,
        resolved: &Rc<Resolved>,
        incoming: &mut Incoming<'_>,
        from: Option<SessionKey>,
        records: Vec<Record>,
        now: Timestamp,
    ) {
        if !self.durable {
            self.route(resolved, incoming, from, None, None, now);
            return;
        }
        let mut draft = self.jobs.draft(self.worker);
        draft.records = records;
        self.route(resolved, incoming, from, None, Some(&mut draft), now);
        self.finish_draft(None, draft, After::Nothing);
    }

    /// Delivers to all targets: those of this worker now, others by hand-over. True if any Subscription matched.
    fn route(
        &mut self,
        resolved: &Rc<Resolved>,
        incoming: &mut Incoming<'_>,
        from: Option<SessionKey>,
        feeder: Option<u32>,
        mut draft: Option<&mut Draft>,
        now: Timestamp,
    ) -> bool {
        if incoming.retain {
            incoming.retain_version = self.routes.next_retain_version();
            let owner = self.owner_of(partition_of(incoming.topic.as_bytes()));
            let message = Arc::clone(incoming.share());
            if owner == self.worker {
                let applied = self.retained.set(&message, self.durable, now);
                if let Some(draft) = draft.as_deref_mut() {
                    draft.taken |= applied.is_some();
                    draft.retained(applied.and_then(|applied| applied.record), &message);
                }
            } else {
                let reply = self.expect_fragment(owner, draft.as_deref_mut());
                let version = self.route_version;
                let retain = Handover::Retain {
                    message,
                    version,
                    reply,
                };
                self.hand_over_from(feeder, owner, retain, now);
            }
        }
        let fan_out = resolved.local.len() > 1;
        self.shapes.begin(fan_out);
        let mut taken = false;
        for target in &*resolved.local {
            taken |= self.deliver(target, incoming, from, draft.as_deref_mut(), now);
        }
        for (worker, targets) in &*resolved.remote {
            if draft.is_none()
                && incoming.shared().is_none()
                && self.extend_run(*worker, incoming, targets, from)
            {
                self.pause_if_behind(feeder, *worker);
                continue;
            }
            let reply = self.expect_fragment(*worker, draft.as_deref_mut());
            let message = Arc::clone(incoming.share());
            let (targets, generation) = (Arc::clone(targets), self.route_version);
            self.hand_over_from(
                feeder,
                *worker,
                Handover::Publish {
                    message,
                    targets,
                    generation,
                    from,
                    reply,
                },
                now,
            );
        }
        for group in &*resolved.groups {
            let owner = self.owner_of(group.partition);
            let message = Arc::clone(incoming.share());
            if owner == self.worker {
                self.dispatch(&message, *group, draft.as_deref_mut(), None, now);
            } else {
                let reply = self.expect_fragment(owner, draft.as_deref_mut());
                self.hand_over_from(
                    feeder,
                    owner,
                    Handover::Dispatch {
                        message,
                        group: *group,
                        reply,
                    },
                    now,
                );
            }
        }
        if let Some(draft) = draft {
            draft.taken |= taken;
        }
        !resolved.is_empty()
    }

    /// Announces that `worker` will return a fragment, unless that is us.
    fn expect_fragment(&self, worker: u16, draft: Option<&mut Draft>) -> Option<ReplyTo> {
        let draft = draft.filter(|_| worker != self.worker)?;
        draft.missing += 1;
        Some(ReplyTo {
            worker: self.worker,
            job: draft.id,
        })
    }

    /// Hands a publication over; the connection that brought it pauses if `to` is over its mark.
    fn hand_over_from(&mut self, feeder: Option<u32>, to: u16, item: Handover, now: Timestamp) {
        self.hand_over(to, item, now);
        self.pause_if_behind(feeder, to);
    }

    fn pause_if_behind(&mut self, feeder: Option<u32>, to: u16) {
        let over = self
            .outstanding
            .get(usize::from(to))
            .is_some_and(|n| *n >= self.limits.worker_queue_max);
        if let Some(slot) = feeder.filter(|_| over) {
            self.pause(slot, to);
        }
    }

    /// A message that another worker has routed to Sessions of ours.
    pub(crate) fn published_elsewhere(&mut self, elsewhere: Elsewhere, now: Timestamp) {
        let Elsewhere {
            message,
            targets,
            generation,
            from,
            reply,
        } = elsewhere;
        let mut draft = reply.map(|reply| Draft::new(reply.job, reply.worker));
        let mut incoming = message.as_incoming();
        self.shapes.begin(targets.len() > 1);
        for target in &*targets {
            // A route may be older than an UNSUBSCRIBE that was answered meanwhile.
            if self.is_wanted(target, generation, &message.topic) {
                let taken = self.deliver(target, &mut incoming, from, draft.as_mut(), now);
                if let Some(draft) = &mut draft {
                    draft.taken |= taken;
                }
            }
        }
        if let Some(draft) = draft {
            self.reply(reply, draft.records, draft.taken, now);
        }
    }

    /// Whether a target of another worker's route, as of `generation`, still has its Subscription.
    pub(crate) fn is_wanted(&self, target: &Target, generation: u64, topic: &str) -> bool {
        let slot = target.session.slot;
        let session = self.sessions.get(slot as usize);
        let session = session.filter(|session| session.key == target.session);
        session.is_some_and(|session| {
            generation >= session.unsubscribed_at || self.still_subscribed(slot, topic)
        })
    }

    fn still_subscribed(&self, slot: u32, topic: &str) -> bool {
        self.sessions.get(slot as usize).is_some_and(|session| {
            let mut own = session.subscriptions().filter(|(_, s)| s.share.is_none());
            own.any(|(filter, _)| dunlin_route::filter_matches(filter, topic))
        })
    }

    /// The Topic Name of a PUBLISH, its alias taken into account, resolved.
    fn resolve_published(
        &mut self,
        slot: u32,
        publish: &Publish<'_>,
    ) -> Result<Rc<Resolved>, (ReasonCode, &'static str)> {
        let alias = if publish.properties.is_empty() {
            None
        } else {
            publish.properties.topic_alias()
        };
        let levels = |_| {
            (
                ReasonCode::TopicNameInvalid,
                "the Topic Name has too many levels",
            )
        };
        let Some(alias) = alias else {
            return self.resolve(publish.topic).map_err(levels);
        };
        if publish.topic.is_empty() {
            let live = self.connections.get(slot as usize).and_then(|c| c.live());
            let topic = match live.map(|live| live.inbound_aliases.get(alias)) {
                Some(Ok(topic)) => Arc::clone(topic),
                Some(Err(error)) => return Err(alias_error(error)),
                None => return Err((ReasonCode::ProtocolError, "no connection")),
            };
            return self.resolve(&topic).map_err(levels);
        }
        let resolved = self.resolve(publish.topic).map_err(levels)?;
        if let Some(live) = self
            .connections
            .get_mut(slot as usize)
            .and_then(|c| c.live_mut())
        {
            live.inbound_aliases
                .set(alias, &resolved.topic)
                .map_err(alias_error)?;
        }
        Ok(resolved)
    }

    /// Where messages of `topic` go now: from the cache if the index has not changed since.
    #[inline]
    pub(crate) fn resolve(&mut self, topic: &str) -> Result<Rc<Resolved>, TooManyLevels> {
        if self.workers > 1 {
            // Before the look: whatever is found current now knows all changes up to here.
            self.route_version = self.routes.version();
        }
        let cached = self.cache.get(topic.as_bytes());
        if let Some(entry) = cached
            && self.routes.generation(entry.value.shards) == entry.value.generation
        {
            self.metrics.route_cache_hits += 1;
            return Ok(Rc::clone(&entry.value));
        }
        let keep = cached.is_some() || self.cache.missed(topic.as_bytes());
        self.resolve_anew(topic, keep)
    }

    #[inline(never)]
    fn resolve_anew(&mut self, topic: &str, keep: bool) -> Result<Rc<Resolved>, TooManyLevels> {
        self.metrics.route_cache_misses += 1;
        let levels = topic.bytes().filter(|byte| *byte == b'/').count() + 1;
        if levels > usize::from(self.limits.topic_levels_max) {
            return Err(TooManyLevels);
        }
        // A mutant sees no difference between `$` topics and others.
        let plain = mutant::is_active(Mutant::DollarMatchesWildcard);
        let seen = if plain {
            topic.trim_start_matches('$')
        } else {
            topic
        };
        let Resolver {
            lookup,
            route,
            passing,
        } = &mut self.resolver;
        self.routes.resolve_into(seen, lookup, route);
        let bytes = route.heap_bytes();
        // A result that passes is forgotten with its message; whoever still has the last one keeps it.
        let mut resolved = passing
            .take_if(|passing| !keep && Rc::strong_count(passing) == 1)
            .unwrap_or_else(|| Rc::new(Resolved::new(topic)));
        if let Some(own) = Rc::get_mut(&mut resolved) {
            if *own.topic != *topic {
                own.topic = topic.into();
            }
            own.fill(route, self.worker, self.workers);
            if keep {
                own.local.shrink_to_fit();
                own.remote.shrink_to_fit();
            }
        }
        // What one message to very many needed is not held for the next.
        let is_large = route.direct.capacity() > RESOLVER_TARGETS_MAX
            || resolved.local.len() > RESOLVER_TARGETS_MAX;
        if keep {
            let bytes = bytes + topic.len() + size_of::<Resolved>();
            self.cache
                .insert(Arc::clone(&resolved.topic), Rc::clone(&resolved), bytes);
        } else {
            *passing = Some(Rc::clone(&resolved));
        }
        if is_large {
            self.resolver = Resolver::default();
        }
        Ok(resolved)
    }

    /// Content that is refused without ending the connection: the Reason Code of PUBACK or PUBREC, and what is counted.
    fn check_content(
        &self,
        session: u32,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Option<(ReasonCode, DropReason)> {
        let max = self.limits.payload_bytes_max as usize;
        if max != 0 && publish.payload.len() > max {
            return Some((
                ReasonCode::ImplementationSpecificError,
                DropReason::SizeLimit,
            ));
        }
        if self.limits.payload_format_check
            && publish.properties.payload_format_indicator() == Some(1)
            && std::str::from_utf8(publish.payload).is_err()
        {
            return Some((ReasonCode::PayloadFormatInvalid, DropReason::Refused));
        }
        if self.authorizer.is_none() && !topic.starts_with('$') {
            return None;
        }
        let session = self.sessions.get(session as usize)?;
        let allowed = self.may_publish(
            &session.publisher.principal,
            &session.publisher.client_id,
            topic,
        );
        (!allowed).then_some((ReasonCode::NotAuthorized, DropReason::NotAuthorized))
    }

    /// Answers a PUBLISH whose message goes nowhere.
    fn refuse_publish(
        &mut self,
        slot: u32,
        session: u32,
        publish: &Publish<'_>,
        reason: ReasonCode,
        dropped: DropReason,
        now: Timestamp,
    ) {
        self.metrics.drop(dropped);
        let Some(id) = publish.packet_id else {
            if reason == ReasonCode::PayloadFormatInvalid {
                self.end_by_server(
                    slot,
                    reason,
                    "the payload is not UTF-8 as its indicator says",
                    now,
                );
            }
            return;
        };
        if publish.qos == QoS::ExactlyOnce
            && self.version_of(slot).is_some_and(|version| version.is_v5())
            && let Some(session) = self.sessions.get_mut(session as usize)
        {
            // PUBREC with an error ends the exchange (v5[MQTT-4.3.3-9] speaks of the sender); on 3.x it
            // has no code, and PUBREL will follow.
            session.inbound.release(id);
        }
        if let Some(kind) = publish_kind(publish.qos) {
            self.acknowledge(slot, kind, PendingAck::publish(kind, id, reason));
        }
    }

    /// The worker of a partition.
    #[inline]
    pub(crate) fn owner_of(&self, partition: u16) -> u16 {
        worker_of(partition, self.workers)
    }
}

impl PendingAck {
    pub(crate) fn publish(kind: AckKind, id: dunlin_packet::PacketId, reason: ReasonCode) -> Self {
        match kind {
            AckKind::Pubrec => Self::Pubrec(id, reason),
            _ => Self::Puback(id, reason),
        }
    }
}

fn alias_error(error: AliasError) -> (ReasonCode, &'static str) {
    match error {
        AliasError::Invalid { .. } => (
            ReasonCode::TopicAliasInvalid,
            "a Topic Alias above Topic Alias Maximum",
        ),
        AliasError::Unknown { .. } => (
            ReasonCode::ProtocolError,
            "a Topic Alias that was never set",
        ),
    }
}
