//! What arrives in a worker's mailbox. Sending never blocks.

use std::sync::Arc;

use dunlin_engine::Handover;
use dunlin_transport::Detached;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::admission::Admission;
use crate::listen::ListenerShare;
use crate::settings::Settings;

/// One letter.
pub(crate) enum Mail {
    /// What one turn of another worker had for this one.
    Handover { from: u16, batch: Vec<Handover> },
    /// Publications of ours that another worker has handled.
    Credit { from: u16, count: u32 },
    /// An authenticated connection whose Session belongs here.
    Connection(Box<Moved>),
    /// Start accepting from a listener.
    Listen(ListenerShare),
    /// New settings after SIGHUP.
    Reload(Arc<Settings>),
    /// Close everything and end.
    Stop,
}

/// A connection on its way between workers.
pub(crate) struct Moved {
    pub(crate) stream: Detached,
    pub(crate) admission: Admission,
}

pub(crate) type Mailbox = UnboundedReceiver<Mail>;

/// The addresses of all workers.
#[derive(Clone)]
pub(crate) struct Post {
    boxes: Arc<[UnboundedSender<Mail>]>,
}

impl Post {
    /// A mailbox for each of `workers`, and the addresses of all.
    pub(crate) fn open(workers: u16) -> (Self, Vec<Mailbox>) {
        let (boxes, mailboxes): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| tokio::sync::mpsc::unbounded_channel())
            .unzip();
        (
            Self {
                boxes: boxes.into(),
            },
            mailboxes,
        )
    }

    /// Puts a letter into a worker's box. After that worker's end it is let go: nobody waits for it.
    pub(crate) fn send(&self, to: u16, mail: Mail) {
        if let Some(mailbox) = self.boxes.get(usize::from(to)) {
            let _ = mailbox.send(mail);
        }
    }

    /// Sends to all workers.
    pub(crate) fn broadcast(&self, mut letter: impl FnMut() -> Mail) {
        for to in 0..self.boxes.len() {
            self.send(to as u16, letter());
        }
    }
}
