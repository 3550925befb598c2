//! What kubelet asks for a volume: the objects that a pod's volume names, and what a claim leads to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ask::Bound;
use super::pod::{Pod, each, text};
use super::question::{Kind, Question};

/// How long a projected token lasts where the pod says nothing (`pkg/apis/core/v1/defaults.go`).
const TOKEN_SECONDS: i64 = 3600;

/// Where a volume of a pod or a persistent volume names a secret: the member, and in it the reference or the name.
const SECRET_REFS: [(&str, &str); 8] = [
    ("csi", "nodePublishSecretRef"),
    ("csi", "nodeStageSecretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
    ("cephfs", "secretRef"),
    ("flexVolume", "secretRef"),
    ("scaleIO", "secretRef"),
    ("storageos", "secretRef"),
];

/// Volumes that an attacher in the cluster brings to the node, and that kubelet has under the name of a CSI driver by now.
pub(super) const MIGRATED: [&str; 6] =
    ["awsElasticBlockStore", "azureDisk", "cinder", "gcePersistentDisk", "portworxVolume", "vsphereVolume"];

/// What is known of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Whether its volumes are attached before they are mounted.
    pub attach: bool,
    /// The tokens that it wants at each mount: for whom, and for how long.
    pub tokens: Vec<(String, Option<i64>)>,
}

/// The drivers in a list of them.
pub fn drivers(list: &Value) -> BTreeMap<String, Driver> {
    let driver = |one: &Value| {
        let tokens = each(one, "/spec/tokenRequests").map(|token| {
            let seconds = token.get("expirationSeconds").and_then(Value::as_i64);
            (text(token, "/audience").to_owned(), seconds)
        });
        let attach = one.pointer("/spec/attachRequired") != Some(&Value::Bool(false));
        Driver { attach, tokens: tokens.collect() }
    };
    each(list, "/items").map(|one| (text(one, "/metadata/name").to_owned(), driver(one))).collect()
}

/// What a volume of a pod asks for.
pub fn of_pod(pod: Pod<'_>, volume: &Value, found: &mut Vec<Question>) {
    let member = |key: &str| volume.get(key).filter(|value| !value.is_null());
    if let Some(secret) = member("secret") {
        found.extend(pod.named(secret, "/secretName", Kind::secret));
    }
    if let Some(config_map) = member("configMap") {
        found.extend(pod.named(config_map, "/name", Kind::config_map));
    }
    for source in each(volume, "/projected/sources") {
        projected(pod, source, found);
    }
    if let Some(claim) = member("persistentVolumeClaim") {
        found.extend(pod.named(claim, "/claimName", Kind::claim));
    }
    if member("ephemeral").is_some() {
        // `pkg/volume/…/component-helpers/storage/ephemeral`: the claim is named after pod and volume.
        let name = format!("{}-{}", pod.name(), text(volume, "/name"));
        found.push(pod.question(Kind::claim(pod.namespace(), &name), false));
    }
    let secrets = secrets(volume, pod.namespace());
    found.extend(secrets.into_iter().map(|kind| pod.question(kind, false)));
}

fn projected(pod: Pod<'_>, source: &Value, found: &mut Vec<Question>) {
    let member = |key: &str| source.get(key).filter(|value| !value.is_null());
    if let Some(secret) = member("secret") {
        found.extend(pod.named(secret, "/name", Kind::secret));
    }
    if let Some(config_map) = member("configMap") {
        found.extend(pod.named(config_map, "/name", Kind::config_map));
    }
    if let Some(token) = member("serviceAccountToken") {
        let seconds = token.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(TOKEN_SECONDS);
        let token = token_of(&Owner::of(pod), text(token, "/audience"), Some(seconds));
        found.push(pod.question(token, false));
    }
    if let Some(bundle) = member("clusterTrustBundle") {
        let optional = bundle.get("optional") == Some(&Value::Bool(true));
        found.push(pod.question(Kind::TrustBundles, optional));
    }
}

/// Whether a pod mounts a certificate that the cluster signs anew each time the pod starts on a node that has been rebooted.
pub fn wants_certificate(pod: Pod<'_>) -> bool {
    each(pod.0, "/spec/volumes")
        .flat_map(|volume| each(volume, "/projected/sources"))
        .any(|source| source.get("podCertificate").is_some_and(|value| !value.is_null()))
}

/// The CSI drivers of the volumes that a pod has without a claim.
pub fn inline_drivers(pod: Pod<'_>) -> BTreeSet<&str> {
    each(pod.0, "/spec/volumes")
        .map(|volume| text(volume, "/csi/driver"))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Of a pod, what a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    namespace: String,
    name: String,
    uid: String,
    account: String,
}

impl Owner {
    /// Of this pod.
    pub fn of(pod: Pod<'_>) -> Owner {
        Owner {
            namespace: pod.namespace().into(),
            name: pod.name().into(),
            uid: pod.uid().into(),
            account: pod.account().into(),
        }
    }
}

/// A token for this audience, which is the API server's where it is empty.
pub fn token_of(owner: &Owner, audience: &str, seconds: Option<i64>) -> Kind {
    let audience = Some(audience.to_owned()).filter(|audience| !audience.is_empty());
    Kind::Token(Bound {
        namespace: owner.namespace.clone(),
        account: owner.account.clone(),
        pod: owner.name.clone(),
        uid: owner.uid.clone(),
        audiences: audience.into_iter().collect(),
        seconds,
    })
}

/// The secrets that a source of a volume names; `namespace` counts where it names none.
fn secrets(source: &Value, namespace: &str) -> Vec<Kind> {
    let of = |namespace: &str, name: &str| Kind::VolumeSecret(namespace.to_owned(), name.to_owned());
    let or = |given: &str| if given.is_empty() { namespace.to_owned() } else { given.to_owned() };
    let mut found = Vec::new();
    for (member, key) in SECRET_REFS {
        if let Some(reference) = source.get(member).and_then(|inner| inner.get(key)) {
            let name = text(reference, "/name");
            found.extend((!name.is_empty()).then(|| of(&or(text(reference, "/namespace")), name)));
        }
    }
    let name = text(source, "/azureFile/secretName");
    found.extend((!name.is_empty()).then(|| of(&or(text(source, "/azureFile/secretNamespace")), name)));
    found
}

/// What kubelet asks once it has a persistent volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Questions.
    pub kinds: Vec<Kind>,
    /// The CSI driver of the volume.
    pub driver: Option<String>,
    /// Whether it is one of which the name of its attachment cannot be told.
    pub migrated: bool,
}

/// What a persistent volume leads to on the node of this name.
pub fn behind(
    volume: &Value,
    node: &str,
    drivers: &BTreeMap<String, Driver>,
    sha256: &dyn Fn(&[u8]) -> [u8; 32],
) -> Behind {
    let Some(spec) = volume.get("spec") else { return Behind::default() };
    let claimed_in = text(spec, "/claimRef/namespace");
    let mut found = Behind { kinds: secrets(spec, claimed_in), ..Behind::default() };
    found.migrated = MIGRATED.iter().any(|key| spec.get(key).is_some_and(|value| !value.is_null()));
    let (driver, handle) = (text(spec, "/csi/driver"), text(spec, "/csi/volumeHandle"));
    if !driver.is_empty() {
        if drivers.get(driver).is_none_or(|driver| driver.attach) {
            // `pkg/volume/csi/csi_attacher.go`, `getAttachmentName`.
            let digest = sha256(format!("{handle}{driver}{node}").as_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let volume = text(volume, "/metadata/name").to_owned();
            found.kinds.push(Kind::Attachment { name: format!("csi-{hex}"), volume });
        }
        found.driver = Some(driver.to_owned());
    }
    found
}
