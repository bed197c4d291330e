//! Traces: what clients send, turn after turn, through packet, protocol, route and engine, with nothing
//! of a server around them.
//!
//! One door: [`ROWS`] and [`Play`]. The bench `engine` takes the time of a turn; the example `trace` is
//! what `cargo xtask instructions` counts. A turn leaves the broker as it found it, so that a trace may
//! be played for ever and every turn costs the same.
//!
//! Packets are built before the first turn. How many stand in one read is what is seen on sockets under
//! load: at QoS 0 to a single receiver 64 KiB, where clients wait for acknowledgements 20 packets, which is also
//! the broker's default for messages in flight.

mod broker;
mod live;
mod packets;
mod stored;

/// A trace by its name.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    begin: fn() -> Box<dyn Trace>,
}

/// All traces.
pub(crate) static ROWS: [Row; 12] = [
    Row {
        name: "qos0",
        begin: live::qos0,
    },
    Row {
        name: "qos1",
        begin: live::qos1,
    },
    Row {
        name: "qos2",
        begin: live::qos2,
    },
    Row {
        name: "fanout-qos0",
        begin: live::fanout_qos0,
    },
    Row {
        name: "fanout-qos1",
        begin: live::fanout_qos1,
    },
    Row {
        name: "wildcards",
        begin: live::wildcards,
    },
    Row {
        name: "v5-properties",
        begin: live::v5_properties,
    },
    Row {
        name: "aliases",
        begin: live::aliases,
    },
    Row {
        name: "large",
        begin: live::large,
    },
    Row {
        name: "retained",
        begin: stored::retained,
    },
    Row {
        name: "offline",
        begin: stored::offline,
    },
    Row {
        name: "connect",
        begin: stored::connect,
    },
];

/// Clients and the broker between them.
trait Trace {
    /// Everything that the clients do, once.
    fn turn(&mut self);

    /// Messages that a turn delivers.
    fn messages_per_turn(&self) -> u64;

    /// Messages that the broker has delivered so far.
    fn delivered(&self) -> u64;
}

/// A trace that is being played.
pub(crate) struct Play {
    trace: Box<dyn Trace>,
    turns: u64,
    /// Messages that were delivered to get ready.
    delivered_before: u64,
}

impl Play {
    /// Connects the clients of a row. `None` if there is no such row.
    pub(crate) fn begin(name: &str) -> Option<Play> {
        let row = ROWS.iter().find(|row| row.name == name)?;
        let trace = (row.begin)();
        let delivered_before = trace.delivered();
        Some(Play {
            trace,
            turns: 0,
            delivered_before,
        })
    }

    pub(crate) fn messages_per_turn(&self) -> u64 {
        self.trace.messages_per_turn()
    }

    pub(crate) fn turn(&mut self) {
        self.turns += 1;
        self.trace.turn();
    }

    /// The messages that all turns have delivered. Panics if these are not the ones that they had to deliver:
    /// a trace that stalls would look cheap.
    pub(crate) fn delivered(&self) -> u64 {
        let delivered = self.trace.delivered() - self.delivered_before;
        assert_eq!(
            delivered,
            self.turns * self.messages_per_turn(),
            "delivered by {} turns",
            self.turns
        );
        delivered
    }
}
