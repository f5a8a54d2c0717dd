//! What the kernel says of processes and of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

/// Processor seconds of this process, and of each of its threads.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    pub(crate) total: f64,
    threads: BTreeMap<u32, (String, f64)>,
}

impl Cpu {
    /// Processor seconds of the thread that used most since `before`, among those whose name begins with `name`.
    pub(crate) fn busiest_since(&self, before: &Cpu, name: &str) -> f64 {
        let used = self.threads.iter().filter(|(_, (of, _))| of.starts_with(name));
        used.map(|(id, (_, now))| now - before.threads.get(id).map_or(0.0, |(_, then)| *then))
            .fold(0.0, f64::max)
    }
}

/// Processor seconds that these processes have used, in user mode and in the kernel. Its resolution is that of the kernel's clock, 10 ms as a rule.
pub(crate) fn cpu_of(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_in(&format!("/proc/{pid}/stat"))).sum()
}

pub(crate) fn cpu_of_self() -> Result<Cpu> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let id = entry.file_name().to_string_lossy().parse().context("the name of a thread is its number")?;
        // A thread may end while its directory is read.
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        if let Ok(seconds) = cpu_in(&entry.path().join("stat").to_string_lossy()) {
            threads.insert(id, (name, seconds));
        }
    }
    Ok(Cpu { total: cpu_in("/proc/self/stat")?, threads })
}

fn cpu_in(path: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("{path}: the process has ended"))?;
    cpu_ticks(&text).map(|ticks| ticks as f64 / ticks_per_second()).with_context(|| path.to_owned())
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Fields 14 and 15 of a `stat` file, proc(5). The name of the program may have spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("{path}: the process has ended"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Processes that ran or waited to run in the minute before: not a quiet machine where it is above a half.
    pub(crate) load_before: f64,
}

impl Machine {
    pub(crate) fn of_this() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        let load = read("/proc/loadavg");
        Machine {
            processor: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// The first line that a command prints; empty where there is no such command.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 4 0 100 1000 50";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        assert!(resident_bytes(std::process::id()).expect("we run") > 1 << 16);
        let cpu = cpu_of_self().expect("we run");
        assert!(!cpu.threads.is_empty() && cpu.total >= 0.0);
        assert!(cpu_of(&[u32::MAX]).is_err(), "there is no such process");
    }
}
