//! From Topic Names to those who want them.
//!
//! Answers three questions, and keeps no message and no Session:
//!
//! - which Subscriptions match a Topic Name: [`RouteIndex`], shared by all workers, which hands out a [`Route`];
//! - whether a [`Route`] resolved earlier still holds: generations ([`RouteIndex::generation`]), so that a worker's
//!   [`TopicCache`] needs neither lock nor message to stay true;
//! - which of many Topic Names match a Topic Filter, in an order that can be resumed: [`RetainedIndex`].
//!
//! Not here: validation of Topic Names and Topic Filters (callers pass valid ones; others match nothing in
//! particular, and never panic), the members of Shared Subscriptions, authorization, and the choice of a receiver.
//!
//! The contract with time and order: a change is visible to [`RouteIndex::resolve`] before the generations that it
//! touches move, and a [`Route`] carries the generation read before the look-up. So a [`Route`] whose generation is
//! still current is not older than the last change that finished.

mod arena;
mod cache;
mod generations;
mod index;
mod keys;
mod label;
mod matches;
mod members;
mod resolve;
mod retained;
mod subscribers;
mod trie;

pub use cache::{Entry, TopicCache};
pub use generations::TopicShards;
pub use index::RouteIndex;
pub use keys::{Grant, GroupKey, SessionKey};
pub use matches::filter_matches;
pub use resolve::{Lookup, Merged, Route, SubscriptionIds, Target};
pub use retained::{Matching, RetainedIndex, RetainedIter};
