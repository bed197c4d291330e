//! What the kernel tells of a process in `/proc`.

use std::fs;

/// Whether the process has a handler for this signal.
pub(crate) fn handles_signal(pid: u32, number: u32) -> bool {
    let mask = u64::from_str_radix(&status(pid, "SigCgt"), 16).expect("a mask of signals");
    mask & (1 << (number - 1)) != 0
}

/// The most memory that was ever resident, in KiB.
pub(crate) fn peak_memory_kib(pid: u32) -> u64 {
    let peak = status(pid, "VmHWM");
    peak.parse().expect("the peak is a number")
}

/// Processor time so far, in ticks of 10 ms.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc tells of the process");
    let (_, fields) = stat
        .rsplit_once(')')
        .expect("the program's name stands in parentheses");
    // utime and stime are the 14th and 15th of all, and two stand up to the parenthesis.
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .map(|time| time.parse::<u64>().expect("a time is a number"))
        .sum()
}

/// A field of `/proc/PID/status`, its unit left out.
fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("/proc tells of the process");
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields
        .find(|(name, _)| *name == field)
        .expect("/proc knows the field");
    let mut words = value.split_whitespace();
    words.next().expect("the field has a value").to_owned()
}
