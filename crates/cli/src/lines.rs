//! The lines of standard input, read by a thread of its own and only as far ahead as it is allowed to:
//! while the broker is away, what is piped in waits in the pipe.

use std::io::{self, BufRead};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

use crate::work::Input;

/// The reader, seen from the tool.
pub(crate) struct Lines {
    permits: Sender<()>,
}

impl Lines {
    /// Starts the reader. It reads nothing before the first `allow`.
    pub(crate) fn start(inputs: SyncSender<Input>) -> Self {
        let (permits, permitted) = mpsc::channel();
        thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            for () in permitted {
                let input = next_line(&mut stdin);
                let is_end = matches!(input, Input::EndOfLines);
                if inputs.send(input).is_err() || is_end {
                    return;
                }
            }
        });
        Self { permits }
    }

    /// Allows `count` more lines to be read.
    pub(crate) fn allow(&self, count: usize) {
        for _ in 0..count {
            // The reader is gone once it has said that standard input is at its end.
            let _ = self.permits.send(());
        }
    }
}

/// The next line without its end; the last one needs none. Input that cannot be read is at its end.
fn next_line(stdin: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    match stdin.read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => Input::EndOfLines,
        Ok(_) => {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            Input::Line(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bytes_up_to_the_line_end() {
        let mut input = &b"one\n\ntwo\xff"[..];
        for expected in [&b"one"[..], b"", b"two\xff"] {
            assert!(matches!(next_line(&mut input), Input::Line(line) if line == expected));
        }
        assert!(matches!(next_line(&mut input), Input::EndOfLines));
    }
}
