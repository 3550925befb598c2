//! A machine that can lose its power: a network, process and mount namespace with a boot id, a /run and a /proc of
//! its own, and an /etc, a /var/lib and a /var/log that outlive it.
//!
//! Invariant: nothing a machine's programs do is seen outside of it, except in its directory and its control groups.
//! Its first process is the only one that must be killed: the kernel then kills all others, sends no one a word,
//! and with them go every mount, every pod's network and the whole of /run. If this program itself is killed, the
//! kernel does the same.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{cgroup, netns, sys};

/// Run by the machine's first process before anything else; $1 is the machine's directory, $2 the pause program, $3 the
/// boot id and the rest the directories that it must not see.
const BOOT: &str = r#"set -e
directory=$1 pause=$2 boot_id=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
mount --bind "$directory/etc" /etc
mount --bind "$directory/var-lib" /var/lib
mount --bind "$directory/var-log" /var/log
for hidden; do mount -t tmpfs -o ro tmpfs "$hidden"; done
echo "$boot_id" >/run/boot_id
mount --bind -o ro /run/boot_id /proc/sys/kernel/random/boot_id
ip link set lo up
echo up
exec "$pause"
"#;

/// What a machine's /etc has of the host's: enough for programs to find each other, libraries, names and users. No
/// configuration of what runs on the machine is among it.
const ETC: [&str; 15] = [
    "alternatives",
    "group",
    "host.conf",
    "hosts",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "protocols",
    "resolv.conf",
    "services",
];

/// A machine's environment is its own: nothing of the caller's, least of all a setting of edgekeep's, reaches in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The machine. Off after [`Machine::new`]; [`Machine::boot`] and [`Machine::power_cut`] take turns.
pub struct Machine {
    name: String,
    directory: PathBuf,
    pause: PathBuf,
    hidden: Vec<PathBuf>,
    power: Option<Power>,
}

struct Power {
    /// Waits for the first process; a child of this program.
    holder: Child,
    first: Pid,
    boot_id: String,
}

/// A program that was started on the machine and that can be killed alone.
pub struct Process {
    name: String,
    entered: Child,
}

impl Process {
    /// Waits for its end, at most for `limit`.
    ///
    /// # Errors
    ///
    /// It still runs.
    pub fn wait(mut self, limit: Duration) -> Result<()> {
        if !sys::wait_until(limit, || matches!(self.entered.try_wait(), Ok(Some(_)))) {
            bail!("{} still runs after {limit:?}", self.name);
        }
        Ok(())
    }
}

impl Machine {
    /// A machine that lives in `directory`, switched off; `name` is that of its network namespace, `pause` the program
    /// that its first process becomes.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn new(directory: &Path, name: String, pause: PathBuf) -> Result<Self> {
        for own in ["etc", "var-lib", "var-log", "log"] {
            let own = directory.join(own);
            fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        }
        let etc = directory.join("etc");
        let there = ETC.map(|entry| Path::new("/etc").join(entry));
        let there = there.iter().filter(|entry| entry.exists());
        // Links named here are followed, links below them are copied.
        sys::output(sys::command(&["cp", "--archive", "-H"]).args(there).arg(&etc))?;
        fs::write(etc.join("machine-id"), sys::uuid()?.replace('-', "") + "\n")?;
        Ok(Self { name, directory: directory.to_owned(), pause, hidden: Vec::new(), power: None })
    }

    /// Keeps a directory of the host from the machine's sight, from its next boot on.
    pub fn hide(&mut self, directory: PathBuf) {
        self.hidden.push(directory);
    }

    /// The machine's /etc, as seen from outside.
    pub fn etc(&self) -> PathBuf {
        self.directory.join("etc")
    }

    /// The machine's /var/lib, as seen from outside.
    pub fn var_lib(&self) -> PathBuf {
        self.directory.join("var-lib")
    }

    /// The name of the machine's network namespace, and the parent of its pods' control groups.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.power.is_some()
    }

    /// The id of the present boot.
    ///
    /// # Errors
    ///
    /// The machine is off.
    pub fn boot_id(&self) -> Result<&str> {
        Ok(&self.power()?.boot_id)
    }

    /// Where `path` of the machine's own file system is found from outside, sockets included.
    ///
    /// # Errors
    ///
    /// The machine is off.
    pub fn file(&self, path: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{path}", self.power()?.first)))
    }

    /// What the program `name` has written to its log so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }

    /// Copies all logs into `kept`, in place of what is there.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn keep_logs(&self, kept: &Path) -> Result<()> {
        if kept.exists() {
            fs::remove_dir_all(kept).with_context(|| format!("cannot remove {}", kept.display()))?;
        }
        fs::create_dir_all(kept).with_context(|| format!("cannot make {}", kept.display()))?;
        let log = self.directory.join("log/.");
        sys::output(sys::command(&["cp", "--recursive"]).arg(log).arg(kept)).map(drop)
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.directory.join("log").join(format!("{name}.log"))
    }

    fn power(&self) -> Result<&Power> {
        self.power.as_ref().ok_or_else(|| anyhow!("machine {} is switched off", self.name))
    }

    /// Switches the machine on, under a new boot id, with an empty /run and an empty network.
    ///
    /// # Errors
    ///
    /// A namespace or a mount could not be made.
    pub fn boot(&mut self) -> Result<()> {
        let boot_id = sys::uuid()?;
        netns::add(&self.name)?;
        cgroup::make(&self.name)?;
        let network = format!("--net={}", netns::path(&self.name).display());
        let mut holder = sys::command(&["setpriv", "--pdeathsig", "KILL", "nsenter", &network])
            .args(["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["sh", "-c", BOOT, "boot"])
            .args([self.directory.as_os_str(), self.pause.as_os_str()])
            .arg(&boot_id)
            .args(&self.hidden)
            .env_clear()
            .env("PATH", PATH)
            .stdout(Stdio::piped())
            // Not this program's own: unshare ends with a complaint when its child is killed, as it is meant to be.
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the machine's first process")?;
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim() != "up" {
            let ended = holder.wait_with_output()?;
            let words = String::from_utf8_lossy(&ended.stderr).into_owned();
            bail!("the machine's first process did not come up ({}): {}", ended.status, words.trim());
        }
        let first = only_child(holder.id()).inspect_err(|_| drop(holder.kill()))?;
        self.power = Some(Power { holder, first, boot_id });
        Ok(())
    }

    /// Takes the power away and waits until nothing of the running machine is left. What it wrote below /var/lib
    /// stays. A machine that is off stays off.
    ///
    /// # Errors
    ///
    /// A process would not die, or the network namespace or a control group would not go.
    pub fn power_cut(&mut self) -> Result<()> {
        let Some(mut power) = self.power.take() else { return Ok(()) };
        kill_process(power.first, Signal::KILL).context("cannot kill the machine's first process")?;
        power.holder.wait().context("cannot wait for the machine's end")?;
        netns::delete(&self.name)?;
        cgroup::remove(&self.name)
    }

    /// A command that runs on the machine; the caller starts it.
    ///
    /// # Errors
    ///
    /// The machine is off.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let target = self.power()?.first.to_string();
        let mut command = sys::command(&["nsenter", "--target", &target]);
        command.args(["--mount", "--uts", "--net", "--pid", "--"]).args(words);
        // A home of its own, for what programs remember there.
        command.env_clear().env("PATH", PATH).env("HOME", "/run");
        Ok(command)
    }

    /// Runs `words` on the machine to the end; returns what they wrote to stdout.
    ///
    /// # Errors
    ///
    /// As [`sys::output`], or the machine is off.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        sys::output(&mut self.command(words)?)
    }

    /// Starts a program that goes on running, its output added to the log `name`.
    ///
    /// # Errors
    ///
    /// It cannot be started, or the machine is off.
    pub fn start(&self, name: &str, words: &[&str]) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.log_path(name))?;
        // The process id as the machine sees it: nothing outside of the machine can have it.
        let script = r#"echo $$ >"$0"; exec "$@""#;
        let pid_file = format!("/run/{name}.pid");
        let entered = self
            .command(&["sh", "-c", script, &pid_file])?
            .args(words)
            .stdout(log.try_clone()?)
            .stderr(log)
            // A signal of the terminal is for this program, which then ends its machine in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} on {}", self.name))?;
        Ok(Process { name: name.to_owned(), entered })
    }

    /// Kills one program, and only it, without warning, and waits for its end.
    ///
    /// # Errors
    ///
    /// It has ended already, or the machine is off.
    pub fn kill(&self, mut process: Process) -> Result<()> {
        let script = format!("kill -9 $(cat /run/{}.pid)", process.name);
        self.run(&["sh", "-c", &script])?;
        process.entered.wait().with_context(|| format!("cannot wait for {}", process.name))?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.power_cut() {
            eprintln!("edgekeep-e2e: machine {} is not wholly gone: {error:#}", self.name);
        }
    }
}

fn only_child(parent: u32) -> Result<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let child = children.split_whitespace().next().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
    child.ok_or_else(|| anyhow!("process {parent} has no child, but should hold the machine's first process"))
}
