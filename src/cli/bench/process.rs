//! CPU time and memory of processes, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

/// The kernel counts CPU time for user space in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The process of a target, `NAME=PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetProcess {
    pub(super) target: String,
    pub(super) pid: u32,
}

impl FromStr for TargetProcess {
    type Err = String;

    fn from_str(text: &str) -> Result<TargetProcess, String> {
        let pid = |pid: &str| pid.parse().ok().filter(|pid| *pid > 0);
        let parts = text.rsplit_once('=').and_then(|(name, id)| Some((name.to_owned(), pid(id)?)));
        let (target, pid) = parts.ok_or_else(|| format!("`{text}` is not NAME=PID"))?;
        Ok(TargetProcess { target, pid })
    }
}

/// What a process and its descendants use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time since their start.
    pub(super) cpu: Duration,
    /// Resident memory in bytes.
    pub(super) memory: u64,
}

/// Returns the usage of `pid` and its descendants. `None` if there is no such process.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = |pid: u32| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    stat(pid)?;
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: BTreeMap<u32, Stat> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut total = Usage::default();
    for (&candidate, stat) in &all {
        if is_descendant(candidate, pid, &all) {
            total.cpu += TICK * stat.ticks;
            total.memory += memory(candidate);
        }
    }
    Some(total)
}

/// Returns the CPU time of this process.
pub(super) fn own_cpu() -> Option<Duration> {
    Some(TICK * parse(&fs::read_to_string("/proc/self/stat").ok()?)?.ticks)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u32,
}

/// Parses `/proc/PID/stat` (proc_pid_stat(5)): fields 4, 14 and 15. The name before them may hold
/// spaces and parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let (_, behind) = stat.rsplit_once(')')?;
    let field = |number: usize| behind.split_ascii_whitespace().nth(number - 3)?.parse::<u32>().ok();
    Some(Stat { parent: field(4)?, ticks: field(14)?.saturating_add(field(15)?) })
}

fn is_descendant(pid: u32, ancestor: u32, all: &BTreeMap<u32, Stat>) -> bool {
    let mut at = pid;
    // A chain of parents is shorter than the list of processes.
    for _ in 0..=all.len() {
        if at == ancestor {
            return true;
        }
        match all.get(&at) {
            Some(stat) if stat.parent != 0 => at = stat.parent,
            _ => return false,
        }
    }
    false
}

fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_reports() {
        let line = "42 (a b) c) S 7 42 42 0 -1 4194560 100 0 0 0 150 25 9 9 20 0 3 0 100 1 2";
        assert_eq!(parse(line), Some(Stat { parent: 7, ticks: 175 }));
        assert_eq!(parse("42 (x) S"), None);
        let own = usage(std::process::id()).unwrap();
        assert!(own.memory > 1 << 20 && own_cpu().is_some());
        assert_eq!(usage(0), None);
    }

    #[test]
    fn descendants() {
        let all = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 6)];
        let all = all.into_iter().map(|(pid, parent)| (pid, Stat { parent, ticks: 0 })).collect();
        let of_two: Vec<u32> = (1..7).filter(|pid| is_descendant(*pid, 2, &all)).collect();
        assert_eq!(of_two, [2, 3, 4]);
    }

    #[test]
    fn arguments() {
        assert_eq!("a=b=7".parse(), Ok(TargetProcess { target: "a=b".into(), pid: 7 }));
        for wrong in ["7", "a=", "a=x", "a=0"] {
            assert!(TargetProcess::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
