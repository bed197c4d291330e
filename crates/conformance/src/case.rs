//! What a case is, and the list of all of them.

use crate::cases;
use crate::lab::Lab;

/// One proof: a function that panics when the broker does not obey the statements it names.
#[derive(Copy, Clone, Debug)]
pub struct Case {
    /// The function's name; unique over all modules.
    pub name: &'static str,
    /// Ids as `v5[MQTT-3.1.0-1]` or `v311[MQTT-3.1.0-1]`.
    pub statements: &'static [&'static str],
    /// The proof itself.
    pub run: fn(&Lab),
}

/// Makes a [`Case`] of a function and the statements that it proves.
macro_rules! case {
    ($function:ident, [$($statement:literal),* $(,)?] $(,)?) => {
        $crate::Case { name: stringify!($function), statements: &[$($statement),*], run: $function }
    };
}
pub(crate) use case;

/// Every case of every module, in the order of the standard's chapters.
pub fn all() -> Vec<Case> {
    cases::MODULES
        .iter()
        .flat_map(|cases| cases.iter().copied())
        .collect()
}
