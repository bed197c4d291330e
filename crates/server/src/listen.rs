//! Accepting connections.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dunlin_transport::{Bound, Listener};

use crate::admission;
use crate::log::Kind;
use crate::worker::Worker;

/// How long a worker waits before it accepts again when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener's socket for one worker.
pub(crate) struct ListenerShare {
    pub(crate) number: u16,
    pub(crate) socket: Bound,
    pub(crate) slots: Arc<Slots>,
}

/// The connections that a listener may have, counted over all workers.
pub(crate) struct Slots {
    max: Option<u32>,
    used: AtomicU32,
}

/// One of them; given back on drop.
pub(crate) struct Permit {
    slots: Arc<Slots>,
}

impl Slots {
    pub(crate) fn new(max: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            max,
            used: AtomicU32::new(0),
        })
    }

    fn take(self: &Arc<Self>) -> Option<Permit> {
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        let permit = Permit {
            slots: Arc::clone(self),
        };
        // Beyond the maximum the permit is dropped at once, which takes the count back.
        self.max.is_none_or(|max| used < max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slots.used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until the worker stops.
pub(crate) async fn accept(worker: Rc<Worker>, share: ListenerShare) {
    let ListenerShare {
        number,
        socket,
        slots,
    } = share;
    let port = socket.port();
    let listener = match Listener::attach(socket) {
        Ok(listener) => listener,
        Err(error) => {
            return worker.log.line(
                Kind::Error,
                format_args!("Error: a listener failed: {error}."),
            );
        }
    };
    let mut complained = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: those who are connected go on being served.
                if !std::mem::replace(&mut complained, true) {
                    worker.log.line(
                        Kind::Error,
                        format_args!("Error: cannot accept connections for now: {error}."),
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        complained = false;
        let Some(permit) = slots.take() else {
            worker.log.line(
                Kind::Notice,
                format_args!("Client connection from {peer} denied: max_connections exceeded."),
            );
            continue;
        };
        if worker.log.connections() {
            match port {
                Some(port) => worker.log.line(
                    Kind::Notice,
                    format_args!("New connection from {peer} on port {port}."),
                ),
                None => worker
                    .log
                    .line(Kind::Notice, format_args!("New connection from {peer}.")),
            }
        }
        if !worker.settings().nodelay {
            // A socket that is gone already says so at the first read.
            let _ = stream.set_nodelay(false);
        }
        let serving = Rc::clone(&worker);
        worker.spawn(admission::serve(serving, stream, peer, number, permit));
    }
}
