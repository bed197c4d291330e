//! The test bench: engines, the mail between them, their stores, their clients and the clock, all
//! in memory and all moved by the test.
//!
//! One door: [`Cluster`]. A test says what clients do and reads what they got as text, one line
//! for each packet: `t=hi q1` is a PUBLISH, `puback 1 0x10` an acknowledgement, `closed` the end.
//! Unless a test holds mail or the answers of stores back, every action runs until nothing moves.

// Each test crate uses its own part of the bench.
#![allow(
    dead_code,
    unused_imports,
    reason = "the bench is compiled into each test crate"
)]

mod actions;
mod client;
mod cluster;
mod dice;
mod packets;
mod records;
mod store;
mod views;

pub(crate) use client::At;
pub(crate) use cluster::Cluster;
pub(crate) use dice::Dice;
pub(crate) use packets::{Delivered, Hello, Message, Seen};

/// No packet at all.
pub(crate) const NOTHING: [&str; 0] = [];
/// No batch at all.
pub(crate) const NO_BATCHES: [Vec<&str>; 0] = [];

/// Subscription Options as they stand in SUBSCRIBE, to be added to a QoS.
pub(crate) const NO_LOCAL: u8 = 0x04;
/// Retain As Published.
pub(crate) const AS_PUBLISHED: u8 = 0x08;
/// Retain Handling 1: retained messages only for a new Subscription.
pub(crate) const IF_NEW: u8 = 0x10;
/// Retain Handling 2: no retained messages.
pub(crate) const NO_RETAINED: u8 = 0x20;
