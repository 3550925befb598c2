//! What the fuzz targets share: seeds, a machine to run commands on, and the checks that hold for every error.
//!
//! A target says what must be true of any input whatsoever; a panic is the way to say that it is not.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Call, Env, Error, Version};
use durable::fs::Fs;
use lease::{Identity, Now, Places, Request, Store};
use testkit::power_cut::PowerCutFs;

/// The configuration whose pools the commands of the storage targets use.
pub const CONFIG: &str = r#"{"cniVersion":"1.1.0","name":"net","ipam":{"type":"x","dataDir":"/data",
    "ranges":[[{"subnet":"10.1.0.0/28"}],[{"subnet":"fd00::/120"}]]}}"#;

/// The directory of host-local for the network of [`CONFIG`].
pub const DATA: &str = "/data/net";
/// The directory of its journal.
pub const STATE: &str = "/state/net";

/// Writes the seeds of a target into the directory that `FUZZ_SEEDS` names, before the fuzzer reads its corpus.
pub fn seeds(seeds: &[&[u8]]) {
    let Some(dir) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    for (at, seed) in seeds.iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{at:02}")), seed)
            .expect("a directory for seeds that can be written");
    }
}

/// A call's environment.
pub fn env(command: &str, args: &str) -> Env {
    Env {
        command: command.to_owned(),
        container_id: "c".to_owned(),
        netns: "/n".to_owned(),
        ifname: "eth0".to_owned(),
        args: args.to_owned(),
        path: "/p".to_owned(),
        netns_override: false,
    }
}

/// Whatever is refused, it is refused in one JSON document with a code and a reason.
pub fn check_error(error: &Error, version: Version) {
    let text = error.to_json(version);
    let json: serde_json::Value = serde_json::from_str(&text).expect("an error is one JSON document");
    assert_eq!(json["code"], error.code);
    assert!(error.code > 0 && !error.msg.is_empty(), "{text}");
    assert_eq!(json["msg"].as_str(), Some(error.msg.as_str()));
}

/// A machine whose run directory is volatile.
pub fn machine() -> PowerCutFs {
    let fs = PowerCutFs::new();
    fs.volatile("/run").expect("a new machine");
    for dir in [DATA, STATE] {
        fs.create_dir_all(Path::new(dir), 0o755).expect("a new machine");
    }
    fs.settle();
    fs
}

/// What a runtime does with the network of [`CONFIG`] on a machine.
pub struct Node {
    /// The machine.
    pub fs: PowerCutFs,
    call: Call,
    places: Places,
    boot: u64,
    calls: u64,
}

impl Node {
    /// The node on that machine.
    pub fn new(fs: PowerCutFs) -> Node {
        let call = Call::parse(&env("ADD", ""), CONFIG.as_bytes()).expect("a valid configuration");
        let places = Places {
            data: DATA.into(),
            state: STATE.into(),
            run: "/run/net".into(),
            cni_cache: "/cache".into(),
            network: "net".to_owned(),
        };
        Node { fs, call, places, boot: 1, calls: 0 }
    }

    /// Another boot, after an orderly shutdown.
    pub fn reboot(&mut self) {
        self.fs.reboot_clean();
        self.boot += 1;
    }

    fn with<T>(
        &mut self,
        command: impl FnOnce(&mut Store<'_, PowerCutFs>, &Call) -> Result<T, lease::Error>,
    ) -> Result<T, lease::Error> {
        self.calls += 1;
        let now = Now {
            boot: format!("boot-{}", self.boot),
            wall: self.fs.now().secs,
            uptime: self.calls,
            entropy: self.calls.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let policy = cni::retain::Policy::default();
        let mut store = Store::open(&self.fs, &self.places, &now, &policy)?;
        let result = command(&mut store, &self.call);
        let (flush, _notes) = store.finish();
        match flush {
            Some(flush) if result.is_ok() => flush.run().and(result),
            _ => result,
        }
    }

    /// ADD for a pod's sandbox. Addresses that are handed out lie in their range sets, one each.
    pub fn add(&mut self, pod: &str, container: &str) -> Result<Vec<IpAddr>, lease::Error> {
        let request = Request {
            identity: Identity::Pod { namespace: "d".to_owned(), name: pod.to_owned(), uid: String::new() },
            container: container.to_owned(),
            ifname: "eth0".to_owned(),
            netns: format!("/ns/{container}"),
            requested: Vec::new(),
        };
        let addresses = self.with(|store, call| store.add(&request, &call.conf.ipam.sets))?;
        let sets = &self.call.conf.ipam.sets;
        assert_eq!(addresses.len(), sets.len());
        assert!(
            sets.iter().zip(&addresses).all(|(set, address)| set.get(*address).is_some()),
            "{addresses:?}"
        );
        Ok(addresses)
    }

    /// DEL of a sandbox.
    pub fn del(&mut self, container: &str) -> Result<(), lease::Error> {
        self.with(|store, _| store.del(container, "eth0", None))
    }

    /// The lease file of an address, if there is one.
    pub fn lease(&self, address: IpAddr) -> Option<Vec<u8>> {
        self.fs.read(Path::new(DATA).join(address.to_string())).ok()
    }

    /// Two pods come, one sandbox is made anew, the node is rebooted: whatever stood on the disk before, no two have
    /// one address, each address has its lease file, and who was given addresses gets them again.
    pub fn check_promises(&mut self) {
        let (Ok(a), Ok(b)) = (self.add("pod-a", "sandbox-a"), self.add("pod-b", "sandbox-b")) else { return };
        assert!(a.iter().all(|address| !b.contains(address)), "P2: {a:?} {b:?}");
        for (addresses, container) in [(&a, "sandbox-a"), (&b, "sandbox-b")] {
            let lease = format!("{container}\r\neth0");
            assert!(
                addresses.iter().all(|address| self.lease(*address).as_deref() == Some(lease.as_bytes()))
            );
        }
        assert_eq!(self.add("pod-a", "sandbox-a").expect("a repeated ADD"), a);
        self.del("sandbox-a").expect("a DEL on a disk that works");
        assert!(a.iter().all(|address| self.lease(*address).is_none()), "DEL leaves no lease file");
        self.del("sandbox-a").expect("a repeated DEL");
        let c = self.add("pod-c", "sandbox-c");
        assert_eq!(self.add("pod-a", "sandbox-a2").expect("its own addresses"), a, "P1: home after DEL");
        self.reboot();
        assert_eq!(self.add("pod-b", "sandbox-b2").expect("its own addresses"), b, "P1: home after a reboot");
        assert_eq!(self.add("pod-a", "sandbox-a3").expect("its own addresses"), a, "P1: home after a reboot");
        if let Ok(c) = c {
            assert!(c.iter().all(|address| !a.contains(address) && !b.contains(address)), "P2");
        }
    }
}

/// Some objects of the Kubernetes API to begin with.
pub fn objects(encoding: wire::Encoding) -> Vec<Vec<u8>> {
    let objects = [
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"5","labels":{"k":"v"},"ownerReferences":[{"kind":"Node","name":"n","uid":"w"}]},"spec":{"nodeName":"n","containers":[{"name":"c","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"100m"}},"livenessProbe":{"httpGet":{"port":"http"}}}],"volumes":[{"name":"v","secret":{"secretName":"s"}}]},"status":{"phase":"Running","startTime":"2020-01-01T00:00:00Z","podIPs":[{"ip":"10.0.0.1"}]}}"#,
        r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:a":{}}}]},"data":{"k":"AAEC"}}"#,
        r#"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"a"},"spec":{"renewTime":"2020-01-01T00:00:00.123456Z","leaseDurationSeconds":40}}"#,
        r#"{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","spec":{"versions":[{"schema":{"openAPIV3Schema":{"items":[{}],"additionalProperties":false,"default":{"a":[1]},"maximum":1.5}}}]}}"#,
        r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"t"},"status":{"user":{"extra":{"a":["b"]}}}}"#,
    ];
    let encode = |json: &&str| match encoding {
        wire::Encoding::Json => json.as_bytes().to_vec(),
        wire::Encoding::Protobuf => {
            wire::transcode::to_protobuf(json.as_bytes()).expect("a seed is an object").bytes
        }
    };
    objects.iter().map(encode).collect()
}
