//! Whether a container's image is on the node when nothing can be pulled.
//!
//! kubelet tells of the images in its Node (`status.images`): at most 50 of them (`nodeStatusMaxImages`), each under at
//! most five names (`pkg/kubelet/nodestatus/setters.go`). So that one is not named there does not always say that it is
//! not there; the image of a container that runs is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::finding::{Area, Finding, Gravity};
use super::pod::{Pod, each, text};

/// How many images kubelet tells of.
const TOLD: usize = 50;
/// Under how many names it tells of one.
const NAMES: usize = 5;

/// The images that a node tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    names: BTreeSet<String>,
    all: bool,
}

impl Images {
    /// Those of this Node.
    pub fn of(node: &Value) -> Images {
        let mut images = Images::default();
        let mut told = 0;
        let mut shortened = false;
        for image in each(node, "/status/images") {
            told += 1;
            let names: Vec<&str> = each(image, "/names").filter_map(Value::as_str).collect();
            shortened |= names.len() >= NAMES;
            images.names.extend(names.into_iter().map(canonical));
        }
        images.all = told > 0 && told < TOLD && !shortened;
        images
    }

    /// What is to be said of a pod's images.
    pub fn findings(&self, pod: Pod<'_>) -> Vec<Finding> {
        let containers = pod.containers().map(|container| {
            let (image, policy) = (text(container, "/image"), text(container, "/imagePullPolicy"));
            (image, policy, runs(pod, text(container, "/name")))
        });
        let volumes = each(pod.0, "/spec/volumes").filter_map(|volume| volume.get("image"));
        let volumes = volumes.map(|image| (text(image, "/reference"), text(image, "/pullPolicy"), false));
        let all = containers.chain(volumes).filter(|(image, ..)| !image.is_empty());
        all.filter_map(|(image, policy, runs)| self.judge(pod, image, policy, runs)).collect()
    }

    fn judge(&self, pod: Pod<'_>, image: &str, policy: &str, runs: bool) -> Option<Finding> {
        let say = |gravity, why: String, to_do: &str| {
            Some(
                Finding::new(Area::Images, gravity, format!("image {image}"), why)
                    .to_do(to_do)
                    .of([pod.title()]),
            )
        };
        if is_always(image, policy) {
            return say(
                Gravity::Missing,
                "imagePullPolicy is Always: kubelet asks the registry each time the container starts, and does not \
                 start it when there is no answer"
                    .into(),
                "say `imagePullPolicy: IfNotPresent` in what makes the pod, and name the image by a tag that does not \
                 move or by its digest",
            );
        }
        if runs || self.names.contains(&canonical(image)) {
            return None;
        }
        match self.all {
            true => say(
                Gravity::Missing,
                "it is not on this node, as kubelet tells in its Node, and cannot be pulled".into(),
                "pull it while the registry is there (`crictl pull`), or load it from a file",
            ),
            false => say(
                Gravity::Unknown,
                "no container of it runs, and kubelet does not tell of all images in its Node: whether it is on this \
                 node is not known"
                    .into(),
                "look with `crictl images`; with `nodeStatusMaxImages: -1` kubelet tells of all of them",
            ),
        }
    }
}

/// Whether a container of the pod runs now: then its image is in use, and kubelet does not collect it.
fn runs(pod: Pod<'_>, container: &str) -> bool {
    let all = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let mut statuses = all.into_iter().flat_map(|list| each(pod.0, list));
    statuses.any(|status| {
        text(status, "/name") == container && status.pointer("/state/running").is_some_and(Value::is_object)
    })
}

/// Whether kubelet pulls it at every start (`pkg/apis/core/v1/defaults.go` where nothing is said).
fn is_always(image: &str, policy: &str) -> bool {
    match policy {
        "" => !image.contains('@') && canonical(image).ends_with(":latest"),
        policy => policy == "Always",
    }
}

/// An image's name in full, as runtimes tell it (`distribution/reference`, `ParseDockerRef`): with registry, and with a
/// digest or else a tag.
fn canonical(name: &str) -> String {
    let (path, digest) = name.split_once('@').map_or((name, None), |(path, digest)| (path, Some(digest)));
    let last = path.rfind('/').map_or(0, |at| at + 1);
    let colon = path.get(last..).and_then(|end| end.find(':')).map(|at| last + at);
    let (path, tag) = match colon {
        Some(at) => (path.get(..at).unwrap_or(path), path.get(at + 1..)),
        None => (path, None),
    };
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let of_docker = |path: &str| match path.contains('/') {
        true => format!("docker.io/{path}"),
        false => format!("docker.io/library/{path}"),
    };
    let path = match path.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => of_docker(rest),
        Some((first, _)) if is_registry(first) => path.to_owned(),
        _ => of_docker(path),
    };
    match digest {
        Some(digest) => format!("{path}@{digest}"),
        None => format!("{path}:{}", tag.unwrap_or("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_runtimes_read_them() {
        for (name, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/app:1", "docker.io/library/app:1"),
            ("index.docker.io/team/app", "docker.io/team/app:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("reg:5000/app", "reg:5000/app:latest"),
            ("reg.example:5000/a/b:2", "reg.example:5000/a/b:2"),
            ("app:1@sha256:aa", "docker.io/library/app@sha256:aa"),
            ("", "docker.io/library/:latest"),
        ] {
            assert_eq!(canonical(name), full);
        }
    }

    #[test]
    fn only_what_moves_is_pulled_at_every_start() {
        for (image, policy, always) in [
            ("a", "", true),
            ("a:latest", "", true),
            ("a:1", "", false),
            ("a@sha256:aa", "", false),
            ("a:1", "Always", true),
            ("a", "IfNotPresent", false),
            ("a", "Never", false),
        ] {
            assert_eq!(is_always(image, policy), always, "{image} {policy}");
        }
    }
}
