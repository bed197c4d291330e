//! What the fuzz targets share: bytes read as choices, naive models, and a broker in memory.
//!
//! A target is a few lines; what it checks is here. A panic is a finding. Nothing of this is fast or
//! clever: a model is worth something only where its answer is plain to see.
//!
//! Reading order: [`choices`], [`naive`] (topics), [`machines`] (one state machine each), [`house`]
//! (engines wired in memory), [`client`] and [`ledger`] (what a well-behaved client knows), [`world`]
//! (three such clients, a stranger and the house).

pub mod choices;
pub mod client;
pub mod house;
pub mod ledger;
pub mod machines;
pub mod naive;
pub mod world;
