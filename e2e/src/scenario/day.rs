//! A day in the life of a node: pods are started, looked at, entered, changed and deleted by real clients on the node,
//! services lead to them, tokens are used. Everything that a client is answered is noted, so that a day with the API
//! server directly and a day with something in front of it can be compared field by field.

mod changes;
mod end;
mod objects;
mod services;
mod streams;
mod work;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::clientgo::{ClientGo, FORMS, Form, Informer};
use crate::cluster::Cluster;
use crate::diary::Diary;
use crate::kubeconfig::Access;
use crate::sys;
use objects::NAMESPACE;

/// How long a step of the day may take, on a machine that others use too.
const STEP: Duration = Duration::from_secs(60);

/// Spends a day in which clients reach the API server by `access`, and returns what they were answered. The node has
/// joined and its kubelet and kube-proxy are up; afterwards the cluster is as it was before.
///
/// # Errors
///
/// Something did not go as a day goes.
pub async fn spend(cluster: &mut Cluster<'_>, access: &Access) -> Result<Diary> {
    let kubeconfig = cluster.admin_kubeconfig(access)?;
    let mut day = Day {
        clientgo: ClientGo::new(&cluster.programs, &kubeconfig),
        kubectl: cluster.programs.kubernetes("kubectl"),
        access: access.clone(),
        kubeconfig,
        cluster,
        diary: Diary::default(),
        informers: Vec::new(),
    };
    day.begin().await?;
    work::start(&mut day).await?;
    day.hour("all is up");
    streams::play(&mut day).await?;
    services::play(&mut day).await?;
    day.hour("all has been looked at and entered");
    changes::play(&mut day).await?;
    day.hour("all has been changed");
    end::play(&mut day).await?;
    Ok(day.diary)
}

/// The day so far.
struct Day<'d, 'c> {
    cluster: &'d mut Cluster<'c>,
    access: Access,
    kubectl: String,
    kubeconfig: String,
    clientgo: ClientGo,
    diary: Diary,
    /// Informers that run all day, each with what it is for.
    informers: Vec<(String, Informer)>,
}

impl Day<'_, '_> {
    async fn begin(&mut self) -> Result<()> {
        self.look_around()?;
        let pods = FORMS.iter().map(|form| ("v1/pods", *form));
        let others = ["v1/services", "discovery.k8s.io/v1beta1/endpointslices", "v1/configmaps"];
        let others = others.iter().zip(FORMS).map(|(resource, form)| (*resource, form));
        for (number, (resource, form)) in pods.chain(others).enumerate() {
            self.inform(&format!("informer-{number}-{}", self.access.name), resource, form)?;
        }
        for (name, informer) in &self.informers {
            sys::until(name, STEP, || informer.synced(&self.cluster.stage.node)).await?;
        }
        Ok(())
    }

    /// Tells how far the day is.
    fn hour(&self, what: &str) {
        self.cluster.stage.checks.note(&format!("a day, {}: {what}", self.access.name));
    }

    fn inform(&mut self, name: &str, resource: &str, form: Form) -> Result<()> {
        let informer = self.clientgo.inform(&self.cluster.stage.node, name, resource, form)?;
        self.informers.push((format!("{resource} {form:?}"), informer));
        Ok(())
    }

    /// Waits until the informers for pods, whatever their form, show the same pods in the same state.
    async fn informers_agree(&self) -> Result<()> {
        let node = &self.cluster.stage.node;
        let pods = || self.informers.iter().filter(|(what, _)| what.starts_with("v1/pods"));
        sys::until("informers agree", STEP, || {
            let shown: Vec<_> = pods().map(|(_, informer)| informer.shows(node)).collect::<Result<_>>()?;
            match shown.iter().find(|one| shown.first() != Some(one)) {
                None => Ok(()),
                Some(other) => bail!("{:?}\n{other:?}", shown.first()),
            }
        })
        .await
    }

    /// What a client asks before anything else.
    fn look_around(&mut self) -> Result<()> {
        for words in [
            vec!["version"],
            vec!["api-versions"],
            vec!["api-resources", "--sort-by=name"],
            vec!["get", "--raw", "/healthz"],
            vec!["auth", "can-i", "create", "pods"],
            vec!["get", "namespaces"],
            vec!["get", "nodes", "--output=wide"],
            vec!["explain", "pods.spec.containers"],
        ] {
            self.note_output(&words)?;
        }
        Ok(())
    }

    /// A command that runs kubectl on the node.
    fn command(&self, words: &[&str]) -> Result<std::process::Command> {
        let own = [
            self.kubectl.as_str(),
            "--kubeconfig",
            &self.kubeconfig,
            "--cache-dir=/run/kubectl",
            "--namespace",
            NAMESPACE,
        ];
        self.cluster.stage.node.command(&[&own, words].concat())
    }

    fn kubectl(&self, words: &[&str]) -> Result<String> {
        sys::output(&mut self.command(words)?)
    }

    fn feed(&self, words: &[&str], input: &str) -> Result<String> {
        sys::output_of(&mut self.command(words)?, input)
    }

    fn get(&self, words: &[&str]) -> Result<Value> {
        let told = self.kubectl(&[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&told).with_context(|| format!("kubectl get {words:?} gave no JSON"))
    }

    /// The text at `pointer` of what `kubectl get` says.
    fn field(&self, words: &[&str], pointer: &str) -> Result<String> {
        let object = self.get(words)?;
        let found = object.pointer(pointer).with_context(|| format!("{words:?} has no {pointer}"))?;
        Ok(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    }

    /// Runs kubectl and notes what it says.
    fn note_output(&mut self, words: &[&str]) -> Result<()> {
        let said = self.kubectl(words)?;
        self.diary.note_text(&words.join(" "), &said);
        Ok(())
    }

    /// Notes the object that kubectl gets.
    fn note_object(&mut self, moment: &str, words: &[&str]) -> Result<()> {
        let object = self.get(words)?;
        self.diary.note(&format!("{moment}: {}", words.join(" ")), object);
        Ok(())
    }

    /// Runs kubectl and notes how it ended and what it wrote, wherever.
    fn note_end(&mut self, words: &[&str]) -> Result<()> {
        let done = self.command(words)?.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let end = json!({"status": done.status.code(), "out": text(&done.stdout), "err": text(&done.stderr)});
        self.diary.note(&words.join(" "), end);
        Ok(())
    }

    fn apply(&self, objects: Vec<Value>, flags: &[&str]) -> Result<String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.feed(&[&["apply", "--filename=-"], flags].concat(), &list.to_string())
    }

    /// Puts the client-go program where pods find it.
    fn provide_programs(&self) -> Result<()> {
        let directory = self.cluster.stage.node.var_lib().join("e2e/programs");
        fs::create_dir_all(&directory)?;
        fs::copy(&self.cluster.programs.clientgo, directory.join("clientgo"))
            .context("no client-go program")?;
        Ok(())
    }
}
