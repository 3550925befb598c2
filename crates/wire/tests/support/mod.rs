//! The API's own serialisation samples, which are other people's files and so not in this repository.

use std::path::{Path, PathBuf};

/// A kind filled in every field, in both encodings.
pub struct Sample {
    /// File name without its ending: `core.v1.Pod`.
    pub name: String,
    /// Indented JSON.
    pub json: Vec<u8>,
    /// Protobuf in its envelope.
    pub protobuf: Vec<u8>,
}

/// All samples; `None`, with a word on how to get them, where there are none.
///
/// They are looked for where `EDGEKEEP_K8S_DATA` points, else in `../shared/k8s` beside the checkout.
pub fn samples() -> Option<Vec<Sample>> {
    let given = std::env::var_os("EDGEKEEP_K8S_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/k8s");
    let directory = given.clone().unwrap_or(beside).join("testdata-1.36");
    let Ok(entries) = std::fs::read_dir(&directory) else {
        let missing = format!(
            "no samples in {}: copy api/testdata/HEAD of Kubernetes' staging/src/k8s.io/api there as testdata-1.36, or set \
             EDGEKEEP_K8S_DATA to the directory that holds it",
            directory.display()
        );
        assert!(given.is_none(), "{missing}");
        eprintln!("not checked: {missing}");
        return None;
    };
    let mut samples: Vec<Sample> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| Sample {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            json: std::fs::read(&path).unwrap(),
            protobuf: std::fs::read(path.with_extension("pb")).unwrap(),
        })
        .collect();
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(samples.len() >= 180, "only {} samples in {}", samples.len(), directory.display());
    Some(samples)
}
