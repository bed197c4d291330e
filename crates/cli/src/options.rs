//! The flags of `dunlin pub` and `dunlin sub`, which are those of mosquitto_pub and mosquitto_sub.
//!
//! The table is in `table`, where each value is checked by itself; what depends on several flags is
//! checked here.

mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use dunlin_packet::{ProtocolVersion, QoS};

use crate::flags::{Asked, Programs, help, parse, version};
use crate::output::{self, Format};

use self::table::FLAGS;

/// One of the two tools, by the name that it was called by.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    program: Programs,
    summary: &'static str,
    usage: &'static str,
}

/// The bits of the table.
const PUB: Programs = Programs(1);
const SUB: Programs = Programs(2);

impl Tool {
    pub(crate) fn publish(name: &'static str) -> Self {
        Self {
            name,
            program: PUB,
            summary: "publishes messages and ends.",
            usage: "-t TOPIC {-m MESSAGE | -f FILE | -l | -n | -s} [FLAGS]",
        }
    }

    pub(crate) fn subscribe(name: &'static str) -> Self {
        Self {
            name,
            program: SUB,
            summary: "subscribes to topics and prints the messages that come.",
            usage: "-t TOPIC [-t TOPIC ...] [FLAGS]",
        }
    }

    /// Reads the arguments. `Err` is the status to end with: what there is to say has been said.
    pub(crate) fn read(&self, arguments: &[OsString]) -> Result<Options, ExitCode> {
        let mut options = Options::default();
        let asked = parse(FLAGS, self.program, arguments, &mut options);
        match asked.and_then(|asked| self.check(asked, &options)) {
            Ok(Asked::Work) => Ok(options),
            Ok(Asked::Help) => {
                let (name, flags) = (self.name, help(FLAGS, self.program));
                output::print(&format!("{name} {}\n\nUsage: {name} {}\n\n{flags}", self.summary, self.usage));
                Err(ExitCode::SUCCESS)
            }
            Ok(Asked::Version) => {
                output::print(&version(self.name));
                Err(ExitCode::SUCCESS)
            }
            Err(error) => {
                output::complain(&format!("{error}\n\nUse '{} --help' to see usage.", self.name));
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// Looks at all flags together.
    fn check(&self, asked: Asked, options: &Options) -> Result<Asked, String> {
        let publishes = self.program.0 == PUB.0;
        let complaint = if asked != Asked::Work {
            None
        } else if options.client_id.is_some() && options.id_prefix.is_some() {
            Some("-i and -I argument cannot be used together.")
        } else if options.keep_session && options.client_id.is_none() {
            Some("You must provide a client id if you are using the -c option.")
        } else if options.will.topic.is_none() && options.will.payload.is_some() {
            Some("Will payload given, but no will topic given.")
        } else if options.will.topic.is_none() && options.will.retain {
            Some("Will retain given, but no will topic given.")
        } else if options.password.is_some() && options.user_name.is_none() && !options.version.is_v5() {
            Some("A password (-P) needs a username (-u) before MQTT 5.0.")
        } else if publishes && (options.topics.is_empty() || options.source.is_none()) {
            Some("Both topic and message must be supplied.")
        } else if options.topics.is_empty() {
            Some("You must specify a topic to subscribe to.")
        } else {
            None
        };
        complaint.map_or(Ok(asked), |text| Err(text.to_owned()))
    }
}

/// What the flags say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive_s: u16,
    /// `-c`.
    pub(crate) keep_session: bool,
    /// `-x`.
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) will: Will,
    pub(crate) qos: QoS,
    /// The topic of pub, the Topic Filters of sub.
    pub(crate) topics: Vec<String>,
    pub(crate) retain: bool,
    pub(crate) source: Option<Source>,
    pub(crate) repeat: u32,
    pub(crate) repeat_delay: Duration,
    pub(crate) filtered_out: Vec<String>,
    pub(crate) format: Format,
    /// `-R`.
    pub(crate) no_retained: bool,
    /// `-C`.
    pub(crate) messages_max: Option<u32>,
    /// `-W`.
    pub(crate) timeout: Option<Duration>,
    /// `-E`.
    pub(crate) until_subscribed: bool,
    pub(crate) debug: bool,
    pub(crate) quiet: bool,
}

/// The Will, as far as the flags have told it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Will {
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// Where the payload comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// `-m`.
    Argument(Vec<u8>),
    /// `-n`.
    Empty,
    /// `-f`.
    File(PathBuf),
    /// `-s`.
    Stdin,
    /// `-l`.
    Lines,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 1883,
            version: ProtocolVersion::V311,
            client_id: None,
            id_prefix: None,
            user_name: None,
            password: None,
            keep_alive_s: 60,
            keep_session: false,
            session_expiry_s: None,
            will: Will { topic: None, payload: None, qos: QoS::AtMostOnce, retain: false },
            qos: QoS::AtMostOnce,
            topics: Vec::new(),
            retain: false,
            source: None,
            repeat: 1,
            repeat_delay: Duration::ZERO,
            filtered_out: Vec::new(),
            format: Format::default(),
            no_retained: false,
            messages_max: None,
            timeout: None,
            until_subscribed: false,
            debug: false,
            quiet: false,
        }
    }
}

impl Options {
    /// Remembers where the message comes from.
    ///
    /// # Errors
    /// When it comes from somewhere else already.
    fn take_source(&mut self, source: Source) -> Result<(), String> {
        if self.source.is_some() {
            return Err("Only one type of message can be sent at once.".to_owned());
        }
        self.source = Some(source);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
