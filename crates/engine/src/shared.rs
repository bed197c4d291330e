//! Shared Subscriptions: the choice among the members, made by the worker that owns the partition of
//! ShareName and Topic Filter.

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_protocol::Timestamp;
use dunlin_route::{Grant, GroupKey, Merged, SessionKey};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::commit::Draft;
use crate::deliver::Outcome;
use crate::engine::Engine;
use crate::io::{Chosen, Handover, ReplyTo, ShareId};
use crate::limits::SharedStrategy;
use crate::message::Message;
use crate::metrics::DropReason;
use crate::record::Record;
use crate::subscribe::share_partition;

/// The Shared Subscriptions whose partition is ours.
#[derive(Debug)]
pub(crate) struct Groups {
    /// By number; none is used twice, so that what is on its way to a group that ended reaches no other.
    list: HashMap<u32, Group, FixedState>,
    next: u32,
    by_share: HashMap<Arc<ShareId>, u32, FixedState>,
}

#[derive(Debug)]
struct Group {
    share: Arc<ShareId>,
    members: Vec<Member>,
    next: usize,
    chosen: Option<SessionKey>,
}

#[derive(Debug)]
struct Member {
    session: SessionKey,
    merged: Merged,
    online: bool,
    /// Dispatched and not let go; kept for `least_in_flight` only.
    in_flight: u32,
}

impl Groups {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self {
            list: HashMap::with_hasher(hasher.clone()),
            next: 0,
            by_share: HashMap::with_hasher(hasher),
        }
    }

    pub(crate) fn settled(&mut self, group: GroupKey, session: SessionKey) {
        if let Some(member) = self.member(group, session) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    fn member(&mut self, group: GroupKey, session: SessionKey) -> Option<&mut Member> {
        let group = self.list.get_mut(&group.slot)?;
        group
            .members
            .iter_mut()
            .find(|member| member.session == session)
    }
}

impl Group {
    /// A member for the next message: connected if any is, otherwise the first whose Session waits.
    fn choose(
        &mut self,
        strategy: SharedStrategy,
        except: Option<SessionKey>,
    ) -> Option<&mut Member> {
        let fits = |member: &Member, online: bool| {
            member.online == online && Some(member.session) != except
        };
        let online = self
            .members
            .iter()
            .filter(|member| fits(member, true))
            .count();
        let at = if online == 0 {
            self.members.iter().position(|member| !member.online)
        } else {
            match strategy {
                SharedStrategy::RoundRobin => self.round_robin(except),
                SharedStrategy::Sticky => {
                    let chosen = self.chosen;
                    let known = self
                        .members
                        .iter()
                        .position(|m| Some(m.session) == chosen && fits(m, true));
                    known.or_else(|| self.round_robin(except))
                }
                SharedStrategy::LeastInFlight => {
                    let candidates = self
                        .members
                        .iter()
                        .enumerate()
                        .filter(|(_, member)| fits(member, true));
                    candidates
                        .min_by_key(|(_, member)| member.in_flight)
                        .map(|(at, _)| at)
                }
            }
        }?;
        let member = self.members.get_mut(at)?;
        self.chosen = Some(member.session);
        Some(member)
    }

    fn round_robin(&mut self, except: Option<SessionKey>) -> Option<usize> {
        let count = self.members.len();
        for step in 0..count {
            let at = (self.next + step) % count;
            let member = self.members.get(at)?;
            if member.online && Some(member.session) != except {
                self.next = at + 1;
                return Some(at);
            }
        }
        None
    }
}

/// One Subscription by itself, as routes have it.
pub(crate) fn merged(grant: Grant) -> Merged {
    Merged {
        qos: grant.qos,
        retain_as_published: grant.retain_as_published,
        subscription_ids: std::iter::once(grant.subscription_id).collect(),
    }
}

/// A message that a member could not take, or left behind.
pub(crate) struct Returned {
    pub(crate) message: Arc<Message>,
    pub(crate) group: GroupKey,
    pub(crate) from: SessionKey,
    /// Deletes its record.
    pub(crate) moved: Option<Record>,
    pub(crate) reply: Option<ReplyTo>,
}

impl Engine {
    /// Makes a Session a member, or changes what it is granted.
    pub(crate) fn join_group(
        &mut self,
        share: &Arc<ShareId>,
        session: SessionKey,
        merged: &Merged,
        now: Timestamp,
    ) {
        let partition = share_partition(share);
        let slot = match self.groups.by_share.get(share) {
            Some(slot) => *slot,
            None => {
                let slot = self.groups.next;
                self.groups.next = slot.wrapping_add(1);
                let group = Group {
                    share: Arc::clone(share),
                    members: Vec::new(),
                    next: 0,
                    chosen: None,
                };
                self.groups.list.insert(slot, group);
                self.groups.by_share.insert(Arc::clone(share), slot);
                self.routes
                    .add_group(&share.filter, GroupKey { partition, slot });
                slot
            }
        };
        let key = GroupKey { partition, slot };
        match self.groups.member(key, session) {
            Some(member) => member.merged = merged.clone(),
            None => {
                if let Some(group) = self.groups.list.get_mut(&slot) {
                    group.members.push(Member {
                        session,
                        merged: merged.clone(),
                        online: false,
                        in_flight: 0,
                    });
                }
            }
        }
        // Whoever subscribes is connected.
        self.presence(share, session, true, now);
    }

    pub(crate) fn leave_group(&mut self, share: &Arc<ShareId>, session: SessionKey) {
        let Some(&slot) = self.groups.by_share.get(share) else {
            return;
        };
        let Some(group) = self.groups.list.get_mut(&slot) else {
            return;
        };
        group.members.retain(|member| member.session != session);
        if group.members.is_empty() {
            self.groups.list.remove(&slot);
            self.groups.by_share.remove(share);
            self.routes.remove_group(
                &share.filter,
                GroupKey {
                    partition: share_partition(share),
                    slot,
                },
            );
        }
    }

    /// A member's connection came or went. Whenever others are there, what the absent ones have not
    /// acknowledged is asked back.
    pub(crate) fn presence(
        &mut self,
        share: &Arc<ShareId>,
        session: SessionKey,
        online: bool,
        now: Timestamp,
    ) {
        let Some(&slot) = self.groups.by_share.get(share) else {
            return;
        };
        let key = GroupKey {
            partition: share_partition(share),
            slot,
        };
        let Some(group) = self.groups.list.get_mut(&slot) else {
            return;
        };
        let Some(member) = group
            .members
            .iter_mut()
            .find(|member| member.session == session)
        else {
            return;
        };
        member.online = online;
        if !group.members.iter().any(|member| member.online) {
            return;
        }
        let away: Vec<SessionKey> = group
            .members
            .iter()
            .filter(|m| !m.online)
            .map(|m| m.session)
            .collect();
        for absent in away {
            let to = self.owner_of(absent.partition);
            self.hand_over(
                to,
                Handover::Reclaim {
                    share: Arc::clone(share),
                    group: key,
                    session: absent,
                },
                now,
            );
        }
    }

    /// Tells the owners of a Session's Shared Subscriptions that its connection came or went.
    pub(crate) fn announce_presence(&mut self, slot: u32, online: bool, now: Timestamp) {
        let Some(session) = self.sessions.get(slot as usize) else {
            return;
        };
        let key = session.key;
        let shares: Vec<Arc<ShareId>> = session.shares().cloned().collect();
        for share in shares {
            let to = self.owner_of(share_partition(&share));
            self.hand_over(
                to,
                Handover::Presence {
                    share,
                    session: key,
                    online,
                },
                now,
            );
        }
    }

    /// Gives messages back if the member is still away.
    pub(crate) fn reclaim(
        &mut self,
        share: &Arc<ShareId>,
        group: GroupKey,
        session: SessionKey,
        now: Timestamp,
    ) {
        let Some(state) = self
            .sessions
            .get(session.slot as usize)
            .filter(|s| s.key == session)
        else {
            return;
        };
        let member = state.shares().any(|own| own == share);
        if state.connection.is_none() && member {
            self.give_back(session.slot, group, now);
        }
    }

    /// A Session ends: it leaves its Shared Subscriptions, and what it did not acknowledge goes to others.
    pub(crate) fn leave_all_groups(&mut self, slot: u32, now: Timestamp) {
        let Some(session) = self.sessions.get(slot as usize) else {
            return;
        };
        let key = session.key;
        let shares: Vec<Arc<ShareId>> = session.shares().cloned().collect();
        let queued = session
            .outbound
            .iter()
            .filter_map(|flight| flight.message.as_ref()?.group);
        let mut groups: Vec<GroupKey> = queued
            .chain(session.queue.iter().filter_map(|queued| queued.group))
            .collect();
        groups.sort_unstable_by_key(|group| (group.partition, group.slot));
        groups.dedup();
        for share in shares {
            let to = self.owner_of(share_partition(&share));
            if to == self.worker {
                self.leave_group(&share, key);
            } else {
                self.hand_over(
                    to,
                    Handover::Leave {
                        share,
                        session: key,
                        reply: None,
                    },
                    now,
                );
            }
        }
        for group in groups {
            self.give_back(slot, group, now);
        }
    }

    /// Chooses a member of one of our Shared Subscriptions for a message.
    pub(crate) fn dispatch(
        &mut self,
        message: &Arc<Message>,
        group: GroupKey,
        draft: Option<&mut Draft>,
        reply: Option<ReplyTo>,
        now: Timestamp,
    ) {
        if mutant::is_active(Mutant::SharedToAll) {
            return self.dispatch_to_all(message, group, now);
        }
        let strategy = self.limits.shared_strategy;
        let chosen = self.groups.list.get_mut(&group.slot).and_then(|found| {
            let share = Arc::clone(&found.share);
            let member = found.choose(strategy, None)?;
            member.in_flight += 1;
            Some((member.session, member.merged.clone(), share))
        });
        let Some((session, merged, share)) = chosen else {
            self.metrics.drop(DropReason::NoMember);
            return self.reply(reply, Vec::new(), false, now);
        };
        let chosen = Chosen {
            message: Arc::clone(message),
            group,
            share,
            session,
            merged,
            moved: None,
        };
        let to = self.owner_of(session.partition);
        if to == self.worker {
            return self.deliver_chosen(chosen, draft, reply, now);
        }
        let reply = match draft {
            Some(draft) => {
                draft.missing += 1;
                Some(ReplyTo {
                    worker: self.worker,
                    job: draft.id,
                })
            }
            None => reply,
        };
        self.hand_over(to, Handover::Shared { chosen, reply }, now);
    }

    /// The mutant `shared-to-all`: every member gets a copy.
    fn dispatch_to_all(&mut self, message: &Arc<Message>, group: GroupKey, now: Timestamp) {
        let Some(found) = self.groups.list.get(&group.slot) else {
            return;
        };
        let copies: Vec<_> = found
            .members
            .iter()
            .map(|m| (m.session, m.merged.clone()))
            .collect();
        let share = Arc::clone(&found.share);
        for (session, merged) in copies {
            let to = self.owner_of(session.partition);
            let message = Arc::clone(message);
            let chosen = Chosen {
                message,
                group,
                share: Arc::clone(&share),
                session,
                merged,
                moved: None,
            };
            self.hand_over(
                to,
                Handover::Shared {
                    chosen,
                    reply: None,
                },
                now,
            );
        }
    }

    /// A member of ours was chosen.
    pub(crate) fn deliver_chosen(
        &mut self,
        chosen: Chosen,
        draft: Option<&mut Draft>,
        reply: Option<ReplyTo>,
        now: Timestamp,
    ) {
        let Chosen {
            message,
            group,
            share,
            session,
            merged,
            moved,
        } = chosen;
        let coordinator = reply.map_or(self.worker, |reply| reply.worker);
        let mut own = Draft::new(0, coordinator);
        let target = match draft {
            Some(draft) => draft,
            None => &mut own,
        };
        let mut incoming = message.as_incoming();
        self.shapes.begin(false);
        let outcome = self.deliver_to(
            session,
            &merged,
            &mut incoming,
            Some((group, &share)),
            Some(target),
            now,
        );
        target.taken |= outcome == Outcome::Taken;
        if outcome == Outcome::Dropped(DropReason::SessionEnded) {
            // The Session ended while the message was on its way: the next one.
            let reply = self.pass_on(reply, target);
            let to = self.owner_of(group.partition);
            let back = Handover::Returned {
                message,
                group,
                from: session,
                moved,
                reply,
            };
            return self.hand_over(to, back, now);
        }
        let acknowledged = outcome == Outcome::Taken && merged.qos.min(message.qos as u8) > 0;
        if !acknowledged {
            self.shared_settled(group, session, now);
        }
        let taken = own.taken;
        own.records.extend(moved);
        if reply.is_some() {
            self.reply(reply, own.records, taken, now);
        } else {
            self.commit_lazily(own.records);
        }
    }

    /// Whom the next member's worker owes the fragment: the coordinator, be it this worker.
    fn pass_on(&self, reply: Option<ReplyTo>, draft: &mut Draft) -> Option<ReplyTo> {
        if reply.is_some() || draft.id == 0 {
            return reply;
        }
        draft.missing += 1;
        Some(ReplyTo {
            worker: self.worker,
            job: draft.id,
        })
    }

    /// A member gave a message back: choose again.
    pub(crate) fn returned(&mut self, returned: Returned, now: Timestamp) {
        let Returned {
            message,
            group,
            from,
            moved,
            reply,
        } = returned;
        self.groups.settled(group, from);
        let strategy = self.limits.shared_strategy;
        let chosen = self.groups.list.get_mut(&group.slot).and_then(|found| {
            let share = Arc::clone(&found.share);
            let member = found.choose(strategy, Some(from))?;
            member.in_flight += 1;
            Some((member.session, member.merged.clone(), share))
        });
        let Some((session, merged, share)) = chosen else {
            self.metrics.drop(DropReason::NoMember);
            let records = moved.into_iter().collect();
            return match reply {
                Some(_) => self.reply(reply, records, false, now),
                None => self.commit_lazily(records),
            };
        };
        let to = self.owner_of(session.partition);
        let chosen = Chosen {
            message,
            group,
            share,
            session,
            merged,
            moved,
        };
        self.hand_over(to, Handover::Shared { chosen, reply }, now);
    }

    /// A member let a message go; the chooser wants to know if it counts.
    pub(crate) fn shared_settled(&mut self, group: GroupKey, session: SessionKey, now: Timestamp) {
        if self.limits.shared_strategy == SharedStrategy::LeastInFlight {
            let to = self.owner_of(group.partition);
            self.hand_over(to, Handover::Settled { group, session }, now);
        }
    }
}
