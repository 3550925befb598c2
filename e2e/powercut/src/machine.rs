//! The virtual machine: QEMU, with a disk that this program serves and a line to the program inside.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::nbd;
use crate::node::{ADDRESS, HUB_PORT, OUTSIDE};
use crate::pulse::Pulse;

/// How long a guest that boots may do nothing, where the processor is emulated and others want it too.
const SILENCE: Duration = Duration::from_secs(60);
/// How long anything inside may take, in seconds of the guest's.
const ORDER: u64 = 300;

/// How much of the console is shown where something went wrong.
const LAST_LINES: usize = 30;
/// Nothing that costs time and a virtual machine has not; an end where it would hang. Time is that of the emulated HPET: how fast the
/// processor's own counter is, the kernel measures as it boots, and where others want the processors it has found an eighth of
/// that; then its seconds are short, and it takes itself for locked up.
const KERNEL: &str = "console=ttyS0 panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on tsc=unstable clocksource=hpet no_timer_check";

/// What carries out the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// The kernel's virtual machine.
    Kvm,
    /// QEMU itself.
    Emulated,
}

/// What every machine of a recording starts from.
#[derive(Debug, Clone)]
pub struct Start {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system.
    pub initial: PathBuf,
    /// Directory for sockets and what the console says.
    pub directory: PathBuf,
    /// What runs the instructions.
    pub processor: Processor,
    /// How many of them there are.
    pub processors: u8,
}

/// A machine that runs. Dropping it takes its power away.
pub struct Machine {
    qemu: Child,
    /// Its disk.
    pub disk: Arc<Disk>,
    /// Where its hub is reached from here.
    pub hub: SocketAddr,
    line: Arc<Line>,
    /// Whether it lives.
    pub pulse: Arc<Pulse>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// How an order ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// The program's exit code; negative where it was not even started, or killed.
    pub code: i64,
    /// What it printed.
    pub out: String,
    /// What it said of errors.
    pub err: String,
    /// How far the disk's log was when this was heard.
    pub position: usize,
}

impl Done {
    /// What it printed.
    ///
    /// # Errors
    ///
    /// It did not end with 0: what it said.
    pub fn success(self, what: &str) -> Result<String> {
        match self.code {
            0 => Ok(self.out),
            code => bail!("{what} ended with {code}: {}{}", self.out, self.err),
        }
    }
}

/// The line to the program inside.
#[derive(Default)]
struct Line {
    orders: Mutex<Option<UnixStream>>,
    /// How many of the programs that were to stay do.
    staying: AtomicI64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Done>>,
}

impl Machine {
    /// Boots a machine called `name` from this disk. It is there when the program inside takes orders.
    ///
    /// # Errors
    ///
    /// [`Stalled`](crate::pulse::Stalled): it does not come up, whatever the reason; an emulated kernel locks up before it has seen its disk, once in a
    /// hundred boots, oftener where others want the processors, and a port that was free a moment ago is taken.
    pub async fn boot(start: &Start, name: &str, content: Vec<u8>) -> Result<Self> {
        Self::boot_within(start, name, content, SILENCE).await
    }

    /// As [`boot`](Self::boot), of a guest that may do nothing for so long.
    ///
    /// # Errors
    ///
    /// As [`boot`](Self::boot).
    pub async fn boot_within(start: &Start, name: &str, content: Vec<u8>, silence: Duration) -> Result<Self> {
        let path = |what: &str| start.directory.join(format!("{name}.{what}"));
        let (disk, line) = (Arc::new(Disk::new(content)), Arc::new(Line::default()));
        let disk_end = listen(&path("disk"))?;
        let served = Arc::clone(&disk);
        std::thread::spawn(move || -> std::io::Result<()> { nbd::serve(&served, &mut disk_end.accept()?.0) });
        let (up, comes_up) = oneshot::channel();
        let line_end = listen(&path("line"))?;
        // What an earlier machine of this name said is not this one's.
        File::create(path("console"))?;
        let pulse = Arc::new(Pulse::new(path("console"), Arc::clone(&disk)));
        let (reader, watched, heart) = (Arc::clone(&line), Arc::clone(&disk), Arc::clone(&pulse));
        std::thread::spawn(move || reader.read(&line_end, &watched, &heart, up));
        // A port that is free now; QEMU takes it in a moment.
        let hub = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = qemu(start, &path, hub.port());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path("qemu"))?);
        let qemu = command.spawn().context("cannot run setpriv and qemu-system-x86_64")?;
        let machine = Self { qemu, disk, hub, line, pulse };
        Err(match machine.pulse.while_it_boots(silence, comes_up).await {
            Ok(Ok(())) => return Ok(machine),
            Ok(Err(_)) => {
                let said = std::fs::read_to_string(path("qemu")).unwrap_or_default();
                machine.pulse.stalled(&format!("the machine ended while it booted: {said}")).into()
            }
            Err(stalled) => stalled.into(),
        })
    }

    /// Has the program inside carry out an order.
    ///
    /// # Errors
    ///
    /// [`Stalled`](crate::pulse::Stalled): there is no answer.
    pub async fn order(&self, mut order: Value) -> Result<Done> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut waiting = self.line.waiting();
            waiting.next += 1;
            let id = waiting.next;
            waiting.answers.insert(id, sender);
            id
        };
        if order.get("stays").is_some() {
            self.line.staying.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(order) = order.as_object_mut() {
            order.insert("id".into(), id.into());
        }
        self.line.send(&order)?;
        let answer = self.pulse.within(ORDER, &order.to_string(), answer).await?;
        let ended = || self.pulse.stalled(&format!("the machine ended before it answered {order}"));
        Ok(answer.map_err(|_| ended())?)
    }

    /// Whether all programs that were to stay have ended.
    pub fn ended(&self) -> bool {
        self.line.staying.load(Ordering::Relaxed) <= 0
    }

    /// The last lines of its console.
    pub fn says(&self) -> String {
        let text = self.pulse.console();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, order: &Value) -> Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = orders.as_mut().context("the machine is not there")?;
        orders.write_all(format!("{order}\n").as_bytes()).context("the machine takes no orders any more")
    }

    /// Hears what comes from inside, until it ends. Nobody waits longer than that.
    fn read(&self, end: &UnixListener, disk: &Disk, pulse: &Pulse, up: oneshot::Sender<()>) -> Result<()> {
        let (peer, _) = end.accept()?;
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer.try_clone()?);
        let mut up = Some(up);
        let heard = BufReader::new(peer).lines().try_for_each(|line| {
            let line = line?;
            // First: what is written to the disk from here on may be unknown to who said this.
            let position = disk.position();
            let answer: Value =
                serde_json::from_str(&line).with_context(|| format!("from inside: {line}"))?;
            if answer.get("beat").is_some() {
                pulse.beat();
                return Ok(());
            }
            if answer.get("ready").is_some() {
                up.take().map(|up| up.send(()));
                return Ok(());
            }
            if answer.get("ended").is_some() {
                self.staying.fetch_sub(1, Ordering::Relaxed);
                return Ok(());
            }
            let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |key: &str| answer.get(key).and_then(Value::as_i64);
            let done =
                Done { code: number("code").unwrap_or(-1), out: text("out"), err: text("err"), position };
            let id = answer.get("id").and_then(Value::as_u64).unwrap_or_default();
            // Who asked may have given up.
            let _ = self.waiting().answers.remove(&id).map(|waits| waits.send(done));
            Ok(())
        });
        self.waiting().answers.clear();
        heard
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    // One that an earlier machine of this name left.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

/// The command. The machine ends with the thread that started it, however that ends.
fn qemu(start: &Start, path: &impl Fn(&str) -> PathBuf, hub: u16) -> Command {
    let (disk, line, console) = (path("disk"), path("line"), path("console"));
    let (accelerator, processor) = match start.processor {
        Processor::Kvm => ("kvm", "host"),
        Processor::Emulated => ("tcg,thread=multi", "max"),
    };
    let network = format!(
        "user,id=net,net=169.254.77.0/24,host={OUTSIDE},hostfwd=tcp:127.0.0.1:{hub}-{ADDRESS}:{HUB_PORT}"
    );
    let disk = format!("driver=nbd,node-name=disk,server.type=unix,server.path={}", disk.display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    command.args([
        "-machine",
        "q35",
        "-accel",
        accelerator,
        "-cpu",
        processor,
        "-smp",
        &start.processors.to_string(),
        "-m",
        "384",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(&start.kernel).arg("-initrd").arg(&start.initial);
    command.args(["-append", KERNEL]);
    command.args(["-serial", &format!("file:{}", console.display())]);
    command.args(["-blockdev", &disk, "-device", "virtio-blk-pci,drive=disk"]);
    command.args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="]);
    command.args(["-chardev", &format!("socket,id=line,path={}", line.display())]);
    command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=line"]);
    command
}
