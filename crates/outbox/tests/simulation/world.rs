//! A node, its cloud, the link between them, and chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outbox::report::Line;
use outbox::settle::{Answer, Got, Moment, Place, Read, Request};
use serde_json::{Value, json};
use testkit::rng::Rng;

use crate::Sabotage;
use crate::cloud::{Cloud, node_at, text};
use crate::controllers::{Controllers, delete, node, own_pods};
use crate::hub::{Dies, Disk, Hub, Said};
use crate::kubelet::{Container, Did, Kubelet, is_terminal, ready};
use crate::oracle::{Answered, Check, Oracle, broken};

const EPOCH: i64 = 1_800_000_000;

pub struct World {
    rng: Rng,
    now: Duration,
    sabotage: Sabotage,
    cloud: Cloud,
    backup: Cloud,
    controllers: Controllers,
    /// Whether the cloud can really be reached.
    link: bool,
    up_since: Duration,
    hub: Option<Hub>,
    /// The disk while the hub is down.
    disk: Disk,
    kubelet: Option<Kubelet>,
    runtime: BTreeMap<String, Container>,
    next_ip: u32,
    boot: u32,
    nodes: u32,
    /// No chance: what can go well does.
    quiet: bool,
    oracle: Oracle,
    pub log: Vec<String>,
}

impl World {
    pub fn new(seed: u64, sabotage: Sabotage) -> World {
        let mut cloud = Cloud { rv: 1000, ..Cloud::default() };
        cloud.store(&node_at(), node("n1"));
        let mut disk = Disk::default();
        disk.view = cloud.objects.clone();
        let mut world = World {
            rng: Rng::new(seed),
            now: Duration::from_secs(1),
            sabotage,
            backup: cloud.clone(),
            cloud,
            controllers: Controllers { lease: EPOCH, ..Controllers::default() },
            link: true,
            up_since: Duration::ZERO,
            hub: None,
            disk,
            kubelet: Some(Kubelet::default()),
            runtime: BTreeMap::new(),
            next_ip: 0,
            boot: 1,
            nodes: 1,
            quiet: false,
            oracle: Oracle::default(),
            log: Vec::new(),
        };
        world.start_hub().expect("nothing waits yet");
        world
    }

    fn note(&mut self, text: impl Into<String>) {
        self.log.push(format!("{:>8.1} {}", self.now.as_secs_f32(), text.into()));
    }

    fn wall(&self) -> i64 {
        EPOCH + i64::try_from(self.now.as_secs()).unwrap()
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, wall: Some(self.wall()) }
    }

    fn chance(&mut self, percent: u64) -> bool {
        !self.quiet && self.rng.chance(percent)
    }

    pub fn step(&mut self) -> Check {
        let pods = own_pods(&self.cloud);
        let place = (!pods.is_empty()).then(|| self.rng.pick(&pods).0.clone());
        match self.rng.below(100) {
            0..=7 if self.link => self.cut(),
            0..=17 => self.heal(),
            18..=23 => self.container_ends(),
            24..=26 => self.kill_hub(),
            27..=28 => self.power_cut(),
            29 => self.shut_down()?,
            30..=32 => self.restart_kubelet(),
            33..=34 => {
                self.note("kubelet is stopped");
                self.kubelet = None;
            }
            35..=38 => self.start_kubelet(),
            39..=40 => self.by_user(place, None),
            41..=42 => self.by_user(place, Some(0)),
            43 => self.ends_in_cloud(place),
            44 => self.edit_node(),
            45 if self.rng.chance(30) => self.replace_node(),
            46 if self.rng.chance(30) => self.restore(),
            47..=48 => self.backup = Cloud { journal: Vec::new(), ..self.cloud.clone() },
            49 => self.now += Duration::from_secs(self.rng.below(400)),
            _ => {}
        }
        self.now += Duration::from_millis(self.rng.below(3000));
        self.go_on()
    }

    /// What happens all the time.
    fn go_on(&mut self) -> Check {
        if self.hub.is_none() && (self.quiet || self.rng.chance(60)) {
            self.start_hub()?;
        }
        if self.quiet || self.rng.chance(60) {
            self.kubelet_works()?;
        }
        if self.quiet || self.rng.chance(50) {
            let wall = self.wall();
            self.controllers.work(&mut self.cloud, wall);
        }
        self.hub_works()?;
        self.judge()
    }

    /// No more chance; then node and cloud agree.
    pub fn agree(&mut self) -> Check {
        self.quiet = true;
        self.note("quiet");
        self.start_kubelet();
        self.heal();
        for _ in 0..50 {
            self.now += Duration::from_millis(1300);
            self.go_on()?;
        }
        let result = self.agreed();
        self.quiet = false;
        result
    }

    fn cut(&mut self) {
        self.note("the link is cut");
        self.link = false;
    }

    fn heal(&mut self) {
        if !self.link {
            self.note("the link is back");
            self.link = true;
        }
    }

    fn container_ends(&mut self) {
        let Some(kubelet) = &self.kubelet else { return };
        let runs = |uid: &&String| matches!(self.runtime.get(*uid), Some(Container::Runs { .. }));
        let running: Vec<String> = kubelet.workers.keys().filter(runs).cloned().collect();
        if running.is_empty() {
            return;
        }
        let uid = self.rng.pick(&running).clone();
        let well = self.rng.chance(70);
        self.note(format!("the container of {uid} ends {}", if well { "well" } else { "badly" }));
        self.runtime.insert(uid, Container::Ended { well });
    }

    fn start_hub(&mut self) -> Check {
        let disk = std::mem::take(&mut self.disk);
        let hub = Hub::start(disk, format!("boot{}", self.boot).into(), self.rng.next_u64(), self.sabotage);
        self.note(format!("the hub starts with {} entries", hub.outbox.entries().count()));
        self.hub = Some(hub);
        self.take_fates()
    }

    fn stop_hub(&mut self) {
        if let Some(hub) = self.hub.take() {
            self.disk = hub.disk;
        }
    }

    fn kill_hub(&mut self) {
        self.note("the hub is killed");
        self.stop_hub();
    }

    fn power_cut(&mut self) {
        self.note("the power goes");
        self.stop_hub();
        self.disk.lose_power(&mut self.rng);
        self.reboot();
    }

    fn reboot(&mut self) {
        self.boot += 1;
        let restarts: Vec<String> = self
            .runtime
            .iter()
            .filter(|(_, it)| matches!(it, Container::Runs { .. }))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in restarts {
            let worker = self.kubelet.as_ref().and_then(|kubelet| kubelet.workers.get(&uid));
            match worker.is_some_and(|worker| worker.is_job) {
                true => drop(self.runtime.insert(uid, Container::Ended { well: false })),
                false => drop(self.runtime.remove(&uid)),
            }
        }
        self.kubelet = None;
        self.collect();
        self.start_kubelet();
    }

    /// The runtime forgets containers that have ended.
    fn collect(&mut self) {
        let mut rng = self.rng.fork();
        self.runtime.retain(|_, it| matches!(it, Container::Runs { .. }) || rng.chance(40));
    }

    /// A graceful shutdown: kubelet ends all pods, tells so, and the machine starts anew.
    fn shut_down(&mut self) -> Check {
        let Some(kubelet) = &mut self.kubelet else { return Ok(()) };
        kubelet.shutting_down = true;
        self.note("the node shuts down");
        self.kubelet_works()?;
        self.kubelet_works()?;
        self.hub_works()?;
        self.stop_hub();
        self.disk.flush();
        self.reboot();
        Ok(())
    }

    fn restart_kubelet(&mut self) {
        if self.kubelet.is_some() {
            self.note("kubelet starts anew");
            self.kubelet = Some(Kubelet::default());
            self.collect();
        }
    }

    fn start_kubelet(&mut self) {
        if self.kubelet.is_none() {
            self.note("kubelet starts");
            self.kubelet = Some(Kubelet::default());
        }
    }

    fn by_user(&mut self, place: Option<Place>, grace: Option<i64>) {
        let Some(place) = place else { return };
        self.note(format!("somebody deletes {} ({grace:?})", place.1));
        let wall = self.wall();
        delete(&mut self.cloud, &place, grace, wall);
    }

    fn ends_in_cloud(&mut self, place: Option<Place>) {
        let Some(place) = place.filter(|place| !is_terminal(&self.cloud.objects[place]["status"])) else {
            return;
        };
        self.note(format!("the pod garbage collector ends {}", place.1));
        self.cloud.edit(&place, |pod| {
            pod["status"]["phase"] = "Failed".into();
            pod["status"]["reason"] = "NodeLost".into();
        });
    }

    fn edit_node(&mut self) {
        let label = self.rng.below(1000);
        self.cloud.edit(&node_at(), |node| node["metadata"]["labels"] = json!({"zone": label.to_string()}));
    }

    fn replace_node(&mut self) {
        self.nodes += 1;
        self.note("the node is deleted in the cloud and made again");
        self.cloud.remove(&node_at());
        let uid = format!("n{}", self.nodes);
        self.cloud.store(&node_at(), node(&uid));
    }

    fn restore(&mut self) {
        self.note("the cloud is restored from a backup");
        let journal = std::mem::take(&mut self.cloud.journal);
        for (before, after) in journal {
            drop(self.oracle.cloud_has(after.as_deref(), before.as_deref()));
        }
        self.cloud = self.backup.clone();
        let waiting =
            self.hub.iter().flat_map(|hub| hub.outbox.entries().map(|entry| entry.id.uid.to_string()));
        let waiting: Vec<String> = waiting.collect();
        self.oracle.restored(&waiting);
        for object in self.cloud.objects.values() {
            drop(self.oracle.cloud_has(Some(object), None));
        }
        // Its servers went, too; nobody mistakes that for an unbroken connection.
        let moment = self.moment();
        if let Some(hub) = &mut self.hub {
            hub.link(false, moment);
            hub.sends.clear();
        }
        self.kill_hub();
    }

    /// A write of kubelet, on its way through the hub.
    fn write(&mut self, uid: &str, request: &Request) -> Check {
        let (moment, wall) = (self.moment(), self.wall());
        let lost = (self.chance(6), self.chance(50));
        let dies = self.chance(4).then(|| *self.rng.pick(&[Dies::BeforeTheFlush, Dies::AfterTheFlush]));
        let Some(hub) = &mut self.hub else { return Ok(()) };
        let resource = crate::cloud::parse(&request.path);
        let place = crate::cloud::place("", &resource.resource, &resource.namespace, &resource.name);
        if hub.up {
            hub.settle.kubelet_lives();
            self.oracle.kubelet_wrote = true;
        }
        let is_held = place == node_at() && hub.settle.holds_node(moment.now);
        let mut said = None;
        if hub.up && !hub.waits_for(&place) && !is_held {
            // kubelet looks at the object once more before it writes: with the link there, at the cloud's.
            let present = self.cloud.get(&place);
            let otherwise = |object: &Value| {
                is_terminal(&object["status"]) && object["status"]["phase"] != request.body["status"]["phase"]
            };
            if self.link && request.method == "PATCH" && present.is_some_and(|object| otherwise(object)) {
                hub.hear(&place, present);
                return Ok(());
            }
            let reply = (self.link && lost != (true, false)).then(|| self.cloud.take(request, wall));
            if let Some(reply) = reply.filter(|_| self.link && !lost.0) {
                hub.hear(&place, self.cloud.get(&place));
                said = Some(reply.object.map_or(Said::Code(reply.code), Said::Object));
            }
        }
        if request.method == "DELETE" {
            self.oracle.may_be_gone.insert(uid.to_owned());
        }
        let is_fresh = said.is_some();
        let said = said.unwrap_or_else(|| hub.stage(request, request.content_type, wall, dies));
        let how = if is_fresh { "" } else { ", staged" };
        match said {
            Said::Object(object) => {
                self.note(format!(
                    "kubelet: {} {} ({uid}) {}{how}",
                    request.method, place.1, object["status"]["phase"]
                ));
                self.was_answered(uid, &place, request, &object);
            }
            Said::Code(code) => {
                self.note(format!("kubelet: {} {} ({uid}): {code}{how}", request.method, place.1))
            }
            Said::Nothing => {
                let tried = self.oracle.tried.entry(uid.to_owned()).or_default();
                tried.push(request.body["status"].clone());
                self.note(format!("the hub dies over {} {} ({uid}): {dies:?}", request.method, place.1));
                if dies == Some(Dies::BeforeTheFlush) { self.power_cut() } else { self.kill_hub() }
            }
        }
        self.take_fates()
    }

    fn was_answered(&mut self, uid: &str, place: &Place, request: &Request, object: &Value) {
        if *place == node_at() {
            return;
        }
        let deleted = request.method == "DELETE";
        let boot = format!("boot{}", self.boot);
        let answered = Answered { status: object["status"].clone(), boot, deleted };
        self.oracle.answered(uid, answered);
    }

    fn kubelet_works(&mut self) -> Check {
        let (wall, moment) = (self.wall(), self.moment());
        let (Some(hub), Some(kubelet)) = (&mut self.hub, &mut self.kubelet) else { return Ok(()) };
        // Its lease: passed on, or answered from memory.
        if hub.up {
            hub.settle.kubelet_lives();
            self.oracle.kubelet_wrote = true;
            if self.link && !hub.settle.holds_node(moment.now) {
                self.controllers.lease = wall;
            }
        }
        let served = hub.pods();
        let did = kubelet.sync(&served, &mut self.runtime, &mut self.next_ip);
        let patches = kubelet.patches(&served);
        for did in did {
            self.note(format!("kubelet: {did:?}"));
            if let Did::Started(uid) = did {
                self.oracle.started(&uid)?;
            }
        }
        for (uid, request) in patches {
            self.write(&uid, &request)?;
        }
        let (Some(hub), Some(kubelet)) = (&self.hub, &self.kubelet) else { return Ok(()) };
        for (uid, request) in kubelet.deletes(&hub.pods(), &self.runtime) {
            self.write(&uid, &request)?;
        }
        if self.rng.chance(30) {
            self.write("node", &Kubelet::node_patch(wall))?;
        }
        Ok(())
    }

    fn hub_works(&mut self) -> Check {
        let (moment, wall, link) = (self.moment(), self.wall(), self.link);
        let notices = self.quiet || self.rng.chance(60);
        let hears = link && (self.quiet || self.rng.chance(50));
        let Some(hub) = &mut self.hub else { return Ok(()) };
        if hub.up != link && notices {
            hub.link(link, moment);
            if link {
                self.oracle.kubelet_wrote = false;
                self.up_since = moment.now;
            }
            self.note(format!("the hub notices: {link}"));
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        if hub.up && hears {
            hub.hear_all(&self.cloud);
            let node = self.cloud.get(&node_at()).cloned();
            hub.hear(&node_at(), node.as_ref());
        }
        let before = hub.sends.len();
        hub.tick(moment, wall);
        let news: Vec<Request> = hub.sends[before..].iter().map(|(_, _, request)| request.clone()).collect();
        for request in news {
            self.order_is_kept(&request)?;
            self.speaks_for_the_living(&request)?;
        }
        self.take_fates()?;
        self.reads_end();
        self.sends_end()?;
        self.take_fates()
    }

    /// The node's status is not told while it is not known in the cloud which pods have ended.
    fn order_is_kept(&self, request: &Request) -> Check {
        let Some(hub) = &self.hub else { return Ok(()) };
        if !request.path.contains("/nodes/") || self.now >= self.up_since + Duration::from_secs(10) {
            return Ok(());
        }
        for (place, shown) in hub.pods() {
            let cloud = hub.disk.view.get(&place);
            if is_terminal(&shown["status"])
                && hub.waits_for(&place)
                && cloud.is_some_and(|pod| !is_terminal(&pod["status"]))
            {
                return broken(
                    "order",
                    format!("{} has ended, and the node is told to be ready first", place.1),
                );
            }
        }
        Ok(())
    }

    fn reads_end(&mut self) {
        let (moment, quiet) = (self.moment(), self.quiet);
        let Some(hub) = &mut self.hub else { return };
        let (now, later): (Vec<Read>, Vec<Read>) =
            std::mem::take(&mut hub.reads).into_iter().partition(|_| quiet || self.rng.chance(60));
        hub.reads = later;
        for read in now {
            let fails = !self.link || !quiet && self.rng.chance(15);
            let got = match &read {
                _ if fails => Got::Failed { retry_after: None },
                Read::Pods => {
                    hub.hear_all(&self.cloud);
                    Got::Read
                }
                Read::Again(_) if !quiet && self.rng.chance(10) => Got::Forbidden,
                Read::Own(place) | Read::Again(place) => {
                    let object = self.cloud.get(place).cloned();
                    hub.hear(place, object.as_ref());
                    if object.is_some() { Got::Read } else { Got::Absent }
                }
            };
            hub.settle.got(&read, got, moment);
        }
    }

    fn sends_end(&mut self) -> Check {
        let (moment, wall, quiet) = (self.moment(), self.wall(), self.quiet);
        let Some(hub) = &mut self.hub else { return Ok(()) };
        let (mut now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut hub.sends).into_iter().partition(|_| quiet || self.rng.chance(60));
        hub.sends = later;
        self.rng.shuffle(&mut now);
        for (ticket, id, mut request) in now {
            let place = (id.resource.clone(), id.key.clone());
            let chance = if quiet { 99 } else { self.rng.below(100) };
            let present = self.cloud.get(&place).cloned();
            if self.sabotage == Sabotage::IgnoresUids
                && let Some(present) = &present
            {
                let own = present["metadata"]["uid"].clone();
                match request.method {
                    "DELETE" => request.body["preconditions"]["uid"] = own,
                    _ => request.body["metadata"]["uid"] = own,
                }
            }
            let code = |code| Answer::Code { code, message: String::new(), retry_after: None };
            let (takes, answer) = match chance {
                _ if !self.link => (false, Some(Answer::Nothing)),
                0..=7 => (true, Some(Answer::Nothing)),
                8..=12 => (false, Some(Answer::Nothing)),
                13..=15 => (false, Some(code(503))),
                16..=18 => (false, Some(code(429))),
                _ => (true, None),
            };
            let brings_back = self.sabotage == Sabotage::BringsBack;
            let brought = self.hub.as_ref().and_then(|hub| hub.content(&id)).filter(|_| brings_back).cloned();
            let mut reply = None;
            if takes {
                let said = self.cloud.take(&request, wall);
                if let Some(local) = brought.filter(|_| said.code == 404) {
                    self.cloud.store(&place, Value::clone(&local));
                }
                self.is_of_its_pod(&id.uid, &request, present.as_deref(), said.code)?;
                reply = Some(said);
            }
            let said = reply.map_or(0, |reply| reply.code);
            self.note(format!("hub: {} {} ({}): {said} {answer:?}", request.method, id.key, id.uid));
            let Some(hub) = &mut self.hub else { return Ok(()) };
            // What the answer says is known before anything is settled by it: that a pod is gone, too.
            if answer.is_none() && (said < 300 || said == 404) {
                hub.hear(&place, self.cloud.get(&place));
            }
            hub.settle.answered(ticket, answer.unwrap_or(code(said)), moment);
            hub.carry_out(wall);
        }
        Ok(())
    }

    /// A node whose kubelet has not written is not told to live, nor are its pods.
    fn speaks_for_the_living(&self, request: &Request) -> Check {
        let resource = crate::cloud::parse(&request.path);
        let place = crate::cloud::place("", &resource.resource, &resource.namespace, &resource.name);
        let shown =
            self.hub.as_ref().and_then(|hub| hub.disk.view.get(&place)).map(|pod| pod["status"].clone());
        let ends = is_terminal(&request.body["status"]) || shown.is_some_and(|status| is_terminal(&status));
        if self.oracle.kubelet_wrote || request.method != "PATCH" || ends {
            return Ok(());
        }
        broken("dead", format!("kubelet is not known to live, and this is told: {request:?}"))
    }

    /// What was told of a pod is told of that pod; a shutdown's word does not outlive its boot.
    fn is_of_its_pod(&self, uid: &str, request: &Request, present: Option<&Value>, code: u16) -> Check {
        let Some(present) = present.filter(|_| code < 300 && !request.path.contains("/nodes/")) else {
            return Ok(());
        };
        if text(present, "/metadata/uid") != uid {
            return broken(
                "other",
                format!("{request:?} is about {uid} and was taken for {}", present["metadata"]),
            );
        }
        let is_job = present.pointer("/metadata/ownerReferences/0/kind") == Some(&json!("Job"));
        let Some(answered) = self.oracle.answered.get(uid).filter(|answered| answered.is_shutdown()) else {
            return Ok(());
        };
        if answered.boot != format!("boot{}", self.boot)
            && !self.oracle.may_be_gone.contains(uid)
            && !is_job
            && request.method == "PATCH"
        {
            return broken(
                "shutdown",
                format!("{uid} was ended by a shutdown in {}, and that is told now", answered.boot),
            );
        }
        Ok(())
    }

    /// Each entry that was dropped has a line that names it.
    fn take_fates(&mut self) -> Check {
        let Some(hub) = &mut self.hub else { return Ok(()) };
        for (id, fate) in std::mem::take(&mut hub.fates) {
            let has_line = hub.reports.last().is_some_and(|report| {
                let is_it = |line: &Line| {
                    *line.uid == *id.uid && line.key == id.key.as_str() && line.text == fate.to_string()
                };
                report.lines.iter().any(is_it)
            });
            if !has_line {
                return broken("unreported", format!("{id:?} came to {fate:?}, and no line says so"));
            }
            self.oracle.fate(&id.uid, &fate);
            self.log.push(format!("         {} ({}) is {fate}", id.key, id.uid));
        }
        Ok(())
    }

    fn judge(&mut self) -> Check {
        for (before, after) in std::mem::take(&mut self.cloud.journal) {
            self.oracle.cloud_has(after.as_deref(), before.as_deref())?;
        }
        let Some(hub) = &self.hub else { return Ok(()) };
        let by_uid = |pods: Vec<(Place, Arc<Value>)>| -> BTreeMap<String, Arc<Value>> {
            pods.into_iter().map(|(_, pod)| (text(&pod, "/metadata/uid").to_owned(), pod)).collect()
        };
        let known = hub.disk.view.iter().filter(|((resource, _), _)| resource.resource() == "pods");
        let known = by_uid(known.map(|(place, pod)| (place.clone(), pod.clone())).collect());
        self.oracle.shown(&by_uid(hub.pods()), &known)
    }

    /// Node and cloud have the same, and nothing that was answered was lost.
    fn agreed(&self) -> Check {
        let differ = |text: String| broken("differs", text);
        let (Some(hub), Some(kubelet)) = (&self.hub, &self.kubelet) else {
            return differ("something is down".into());
        };
        if let Some((id, standing)) = hub.settle.standings().next() {
            return differ(format!("{id:?} still waits: {standing:?}"));
        }
        if hub.outbox.entries().next().is_some() {
            return differ("the outbox is not empty".into());
        }
        if self.cloud.get(&node_at()).is_none_or(|node| ready(&node["status"]) != "True") {
            return differ("the node is not known to be ready".into());
        }
        for (place, pod) in own_pods(&self.cloud) {
            let uid = text(&pod, "/metadata/uid");
            if hub.show(&place).as_ref() != Some(&pod) {
                return differ(format!("{} is shown as {:?} and is {pod}", place.1, hub.show(&place)));
            }
            let status = kubelet.workers.get(uid).and_then(|worker| worker.status.as_ref());
            let runs = matches!(self.runtime.get(uid), Some(Container::Runs { .. }));
            // Whoever ended it first has said how, and a pod stays so.
            let differs = |status: &Value| {
                let both_ended = is_terminal(status) && is_terminal(&pod["status"]);
                !both_ended && crate::kubelet::differs(status, &pod["status"])
            };
            if runs == is_terminal(&pod["status"]) || status.is_none_or(differs) {
                return differ(format!(
                    "kubelet has {} as {status:?}, runs: {runs}, the cloud as {pod}",
                    place.1
                ));
            }
        }
        for (uid, container) in &self.runtime {
            let Container::Runs { ip } = container else { continue };
            let endpoint = self.controllers.endpoints.get(uid);
            if kubelet.workers.get(uid).is_some_and(|worker| !worker.is_job)
                && endpoint.is_none_or(|endpoint| *endpoint != (ip.clone(), true))
            {
                return differ(format!("{uid} runs at {ip}, and its endpoint is {endpoint:?}"));
            }
        }
        if let Some(place) = hub.disk.view.keys().find(|place| self.cloud.get(place).is_none()) {
            return differ(format!("{} is shown and is gone", place.1));
        }
        for (uid, answered) in &self.oracle.answered {
            let is_there = own_pods(&self.cloud).iter().any(|(_, pod)| {
                let is_kept = pod.pointer("/metadata/finalizers").is_some();
                text(pod, "/metadata/uid") == uid && !is_kept
            });
            if answered.deleted && is_there && !self.oracle.reported.contains_key(uid) {
                return broken("untold", format!("{uid} was finished with, and is still there"));
            }
            let told = self.oracle.ended_in_cloud.contains_key(uid) || self.oracle.reported.contains_key(uid);
            if is_terminal(&answered.status) && !told {
                return broken(
                    "untold",
                    format!("{uid} ended, that was answered, and the cloud never heard it: {answered:?}"),
                );
            }
        }
        Ok(())
    }
}
