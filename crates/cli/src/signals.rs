//! SIGINT and SIGTERM as inputs, so that a subscriber can say DISCONNECT.

use std::future::poll_fn;
use std::io;
use std::sync::mpsc::SyncSender;
use std::task::Poll;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::work::Input;

/// The status of a tool that was interrupted while it could not even say good-bye.
const INTERRUPTED: i32 = 130;

/// Sends the first of these signals to the tool; the second one ends the process.
///
/// # Errors
/// When the signals cannot be watched.
pub(crate) fn watch(inputs: SyncSender<Input>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(either(&mut interrupt, &mut terminate));
        // The queue may be full for as long as nobody reads what the tool prints.
        thread::spawn(move || inputs.send(Input::Signal));
        runtime.block_on(either(&mut interrupt, &mut terminate));
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    poll_fn(|context| {
        let interrupted = interrupt.poll_recv(context).is_ready();
        let terminated = terminate.poll_recv(context).is_ready();
        if interrupted || terminated {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
