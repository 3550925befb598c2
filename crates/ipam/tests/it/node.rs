//! A node as one test sees it: directories and a boot id of its own, sandboxes, and calls of the plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The program under test.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_edgekeep-ipam");
/// The seven protocol versions, oldest first.
pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Stock host-local, if it is on this machine; says so on stderr if not.
pub(crate) fn stock() -> Option<PathBuf> {
    let path =
        std::env::var_os("EDGEKEEP_REFERENCE_IPAM").map_or("/usr/lib/cni/host-local".into(), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: the part with stock host-local, for there is no {}", path.display());
    None
}

/// A directory, thrown away with the value.
pub(crate) struct Node {
    pub dir: PathBuf,
    pub boot: String,
    /// What the calls run.
    pub program: PathBuf,
    boots: u32,
}

impl Node {
    pub(crate) fn new() -> Node {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("node-{}-{count}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("netns")).unwrap();
        Node { dir, boot: "boot-0".to_owned(), program: OURS.into(), boots: 0 }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("networks")
    }

    /// host-local's directory of the usual network.
    pub(crate) fn leases(&self) -> PathBuf {
        self.data().join("net")
    }

    /// Where the bindings of the usual network lie.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state/net")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(crate) fn netns(&self, container: &str) -> PathBuf {
        self.dir.join("netns").join(container)
    }

    /// The usual network with other range sets, given as subnets.
    pub(crate) fn network(&self, subnets: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge",
            "ipam": { "type": "edgekeep-ipam", "dataDir": self.data(), "ranges": ranges },
        })
    }

    /// The usual network: dual stack, 13 addresses of IPv4.
    pub(crate) fn dual(&self) -> Value {
        self.network(&["10.1.0.0/28", "fd00:1::/64"])
    }

    /// One family, 13 addresses: 10.1.0.2 to 10.1.0.14.
    pub(crate) fn small(&self) -> Value {
        self.network(&["10.1.0.0/28"])
    }

    pub(crate) fn call(&self, command: &str, stdin: &Value) -> Call {
        let mut env = BTreeMap::new();
        let mut set = |key: &str, value: &str| env.insert(key.to_owned(), value.to_owned());
        set("PATH", &std::env::var("PATH").unwrap_or_default());
        set("CNI_COMMAND", command);
        set("CNI_CONTAINERID", "c0");
        set("CNI_NETNS", self.netns("c0").to_str().unwrap());
        set("CNI_IFNAME", "eth0");
        set("CNI_PATH", "/opt/cni/bin");
        set("EDGEKEEP_STATE_DIR", self.dir.join("state").to_str().unwrap());
        set("EDGEKEEP_RUN_DIR", self.run_dir().to_str().unwrap());
        set("EDGEKEEP_CONFIG", self.dir.join("ipam.json").to_str().unwrap());
        set("EDGEKEEP_CNI_CACHE_DIR", self.dir.join("results").to_str().unwrap());
        set("EDGEKEEP_BOOT_ID", &self.boot);
        Call { program: self.program.clone(), env, stdin: stdin.to_string().into_bytes() }
    }

    /// A call about a container of a pod in the namespace `default`.
    pub(crate) fn about(&self, command: &str, network: &Value, pod: &str, container: &str) -> Call {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};\
             K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID=uid-{pod}"
        );
        self.call(command, network)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", self.netns(container).to_str().unwrap())
            .env("CNI_ARGS", &args)
    }

    /// Makes a sandbox: its network namespace stands from now on.
    pub(crate) fn sandbox(&self, container: &str) {
        fs::write(self.netns(container), "").unwrap();
    }

    /// The sandbox is gone, whether or not the runtime says so.
    pub(crate) fn kill(&self, container: &str) {
        let _ = fs::remove_file(self.netns(container));
    }

    /// Starts a sandbox for a pod and asks for its addresses.
    pub(crate) fn add(&self, network: &Value, pod: &str, container: &str) -> Output {
        self.sandbox(container);
        self.about("ADD", network, pod, container).run()
    }

    /// As [`Node::add`] that must succeed.
    pub(crate) fn up(&self, network: &Value, pod: &str, container: &str) -> Vec<IpAddr> {
        self.add(network, pod, container).addresses()
    }

    /// Stops a sandbox as a runtime does: DEL, which must succeed and say nothing, then the namespace goes.
    pub(crate) fn down(&self, network: &Value, pod: &str, container: &str) {
        self.about("DEL", network, pod, container).run().silent();
        self.kill(container);
    }

    /// Power off and on again without a word: every sandbox is gone, the run directory is empty.
    pub(crate) fn reboot(&mut self) {
        self.boots += 1;
        self.boot = format!("boot-{}", self.boots);
        let _ = fs::remove_dir_all(self.run_dir());
        for entry in fs::read_dir(self.dir.join("netns")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// What some distributions do at boot.
    pub(crate) fn wipe_data(&self) {
        let _ = fs::remove_dir_all(self.data());
    }

    /// The lease files of the usual network: address and content.
    pub(crate) fn lease_files(&self) -> BTreeMap<IpAddr, String> {
        files(&self.leases())
            .into_iter()
            .filter_map(|(name, content)| Some((name.parse().ok()?, content)))
            .collect()
    }

    /// Writes a file into host-local's directory, as another program would.
    pub(crate) fn plant(&self, name: &str, content: &str) {
        fs::create_dir_all(self.leases()).unwrap();
        fs::write(self.leases().join(name), content).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Name and content of every file in a directory.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let content = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            (entry.file_name().into_string().unwrap(), content)
        })
        .collect()
}

/// One call of the plugin, not made yet.
#[derive(Clone)]
pub(crate) struct Call {
    pub program: PathBuf,
    pub env: BTreeMap<String, String>,
    pub stdin: Vec<u8>,
}

impl Call {
    pub(crate) fn env(mut self, key: &str, value: &str) -> Call {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Call {
        self.env.remove(key);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Call {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn program(mut self, path: impl Into<PathBuf>) -> Call {
        self.program = path.into();
        self
    }

    pub(crate) fn command(&self) -> Command {
        self.command_of(&[])
    }

    /// The call, made by `wrapper` (a program with its arguments, to which the plugin's path is added).
    pub(crate) fn command_of(&self, wrapper: &[&str]) -> Command {
        let mut words: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self) -> Running {
        Running::of(self.command(), &self.stdin)
    }

    pub(crate) fn run(&self) -> Output {
        self.start().wait()
    }

    pub(crate) fn run_by(&self, wrapper: &[&str]) -> Output {
        Running::of(self.command_of(wrapper), &self.stdin).wait()
    }
}

/// A call under way.
pub(crate) struct Running {
    pub child: Child,
}

impl Running {
    pub(crate) fn of(mut command: Command, stdin: &[u8]) -> Running {
        let mut child = command.spawn().unwrap();
        // A program that ends without reading everything breaks the pipe: that is its right.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        Running { child }
    }

    pub(crate) fn wait(mut self) -> Output {
        // What the plugin writes fits into a pipe, so one after the other is fine.
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Output {
            exit: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit status; `None` when a signal ended it.
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The one document on stdout of a call that succeeded.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.exit, Some(0), "{self:?}");
        self.document()
    }

    /// The one document on stdout.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not one JSON document: {e}: {self:?}"))
    }

    /// A success without a word on stdout.
    pub(crate) fn silent(&self) {
        assert_eq!((self.exit, self.stdout.as_str()), (Some(0), ""), "{self:?}");
    }

    /// Code and message of a call that was refused in the form of the specification.
    pub(crate) fn refused(&self) -> (i64, String) {
        assert_eq!(self.exit, Some(1), "{self:?}");
        let error = self.document();
        let keys: BTreeSet<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys.is_subset(&BTreeSet::from(["cniVersion", "code", "msg", "details"])), "{self:?}");
        (error["code"].as_i64().unwrap(), error["msg"].as_str().unwrap().to_owned())
    }

    pub(crate) fn assert_refused(&self, code: i64, msg: &str) {
        assert_eq!(self.refused(), (code, msg.to_owned()));
    }

    /// The addresses of an ADD that succeeded, in every version's form, without prefix length.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let result = self.ok();
        let address = |cidr: &Value| cidr.as_str().unwrap().split('/').next().unwrap().parse().unwrap();
        match result["ips"].as_array() {
            Some(ips) => ips.iter().map(|ip| address(&ip["address"])).collect(),
            None => {
                ["ip4", "ip6"].iter().filter_map(|key| result.get(key)).map(|ip| address(&ip["ip"])).collect()
            }
        }
    }
}

/// Reads an address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Whether a program can be found.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        eprintln!("SKIPPED: the part with {program}, which is not installed");
    }
    found
}
