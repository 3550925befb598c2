//! A machine that can lose its power: a network, process and mount namespace with a boot id, a /run and a /proc of
//! its own, and a /var/lib that outlives it.
//!
//! Invariant: nothing a node's programs do is seen outside of it, except in its directory and its control groups.
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

use crate::run_dir::RunDir;
use crate::{cgroup, netns, sys};

/// Run by the node's first process before anything else; $1 is the directory of /var/lib, $2 the pause program and
/// $3 the boot id. A host's own configuration of edgekeep must not reach in.
const BOOT: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
mount --bind "$1" /var/lib
if [ -d /etc/edgekeep ]; then mount -t tmpfs tmpfs /etc/edgekeep; fi
echo "$3" >/run/boot_id
mount --bind -o ro /run/boot_id /proc/sys/kernel/random/boot_id
ip link set lo up
echo up
exec "$2"
"#;

/// A machine's environment is its own: nothing of the caller's, least of all a setting of edgekeep's, reaches in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The machine. Off after [`Node::new`]; [`Node::boot`] and [`Node::power_cut`] take turns.
pub struct Node {
    name: String,
    var_lib: PathBuf,
    logs: PathBuf,
    pause: PathBuf,
    power: Option<Power>,
}

struct Power {
    /// Waits for the first process; a child of this program.
    holder: Child,
    first: Pid,
    boot_id: String,
}

/// A program that was started on the node and that can be killed alone.
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

impl Node {
    /// A node that lives in `dir`, switched off; `pause` is the program that its first process becomes.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn new(dir: &RunDir, pause: PathBuf) -> Result<Self> {
        let (var_lib, logs) = (dir.sub("var-lib")?, dir.sub("log")?);
        Ok(Self { name: dir.name.clone(), var_lib, logs, pause, power: None })
    }

    /// The node's /var/lib, as seen from outside.
    pub fn var_lib(&self) -> &Path {
        &self.var_lib
    }

    /// The name of the node's network namespace, and the parent of its pods' control groups.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the present boot.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn boot_id(&self) -> Result<&str> {
        Ok(&self.power()?.boot_id)
    }

    /// Where `path` of the node's own file system is found from outside, sockets included.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn file(&self, path: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{path}", self.power()?.first)))
    }

    /// What the program `name` has written to its log so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn power(&self) -> Result<&Power> {
        self.power.as_ref().ok_or_else(|| anyhow!("node {} is switched off", self.name))
    }

    /// Switches the node on, under a new boot id, with an empty /run and an empty network.
    ///
    /// # Errors
    ///
    /// A namespace or a mount could not be made.
    pub fn boot(&mut self) -> Result<()> {
        let boot_id = sys::uuid()?;
        netns::add(&self.name)?;
        let network = format!("--net={}", netns::path(&self.name).display());
        let mut holder = sys::command(&["setpriv", "--pdeathsig", "KILL", "nsenter", &network])
            .args(["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["sh", "-c", BOOT, "boot"])
            .args([self.var_lib.as_os_str(), self.pause.as_os_str()])
            .arg(&boot_id)
            .env_clear()
            .env("PATH", PATH)
            .stdout(Stdio::piped())
            // Not this program's own: unshare ends with a complaint when its child is killed, as it is meant to be.
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the node's first process")?;
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim() != "up" {
            let ended = holder.wait_with_output()?;
            let words = String::from_utf8_lossy(&ended.stderr).into_owned();
            bail!("the node's first process did not come up ({}): {}", ended.status, words.trim());
        }
        let first = only_child(holder.id()).inspect_err(|_| drop(holder.kill()))?;
        self.power = Some(Power { holder, first, boot_id });
        Ok(())
    }

    /// Takes the power away and waits until nothing of the running node is left. What it wrote below /var/lib
    /// stays. A node that is off stays off.
    ///
    /// # Errors
    ///
    /// A process would not die, or the network namespace or a control group would not go.
    pub fn power_cut(&mut self) -> Result<()> {
        let Some(mut power) = self.power.take() else { return Ok(()) };
        kill_process(power.first, Signal::KILL).context("cannot kill the node's first process")?;
        power.holder.wait().context("cannot wait for the node's end")?;
        netns::delete(&self.name)?;
        cgroup::remove(&self.name)
    }

    /// A command that runs on the node; the caller starts it.
    ///
    /// # Errors
    ///
    /// The node is off.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let target = self.power()?.first.to_string();
        let mut command = sys::command(&["nsenter", "--target", &target]);
        command.args(["--mount", "--uts", "--net", "--pid", "--"]).args(words);
        command.env_clear().env("PATH", PATH);
        Ok(command)
    }

    /// Runs `words` on the node to the end; returns what they wrote to stdout.
    ///
    /// # Errors
    ///
    /// As [`sys::output`], or the node is off.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        sys::output(&mut self.command(words)?)
    }

    /// Starts a program that goes on running, its output added to the log `name`.
    ///
    /// # Errors
    ///
    /// It cannot be started, or the node is off.
    pub fn start(&self, name: &str, words: &[&str]) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.log_path(name))?;
        // The process id as the node sees it: nothing outside of the node can have it.
        let script = r#"echo $$ >"$0"; exec "$@""#;
        let pid_file = format!("/run/{name}.pid");
        let entered = self
            .command(&["sh", "-c", script, &pid_file])?
            .args(words)
            .stdout(log.try_clone()?)
            .stderr(log)
            // A signal of the terminal is for this program, which then ends its node in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} on the node"))?;
        Ok(Process { name: name.to_owned(), entered })
    }

    /// Kills one program, and only it, without warning, and waits for its end.
    ///
    /// # Errors
    ///
    /// It has ended already, or the node is off.
    pub fn kill(&self, mut process: Process) -> Result<()> {
        let script = format!("kill -9 $(cat /run/{}.pid)", process.name);
        self.run(&["sh", "-c", &script])?;
        process.entered.wait().with_context(|| format!("cannot wait for {}", process.name))?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.power_cut() {
            eprintln!("edgekeep-e2e: node {} is not wholly gone: {error:#}", self.name);
        }
    }
}

fn only_child(parent: u32) -> Result<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let child = children.split_whitespace().next().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
    child.ok_or_else(|| anyhow!("process {parent} has no child, but should hold the node's first process"))
}
