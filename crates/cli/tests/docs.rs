//! What the documents say of the hub's configuration is what the hub reads.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use hub::config::Config;

fn document(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Key and default of every row of the tables.
fn rows(document: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix('|')?.split(" | ").collect();
        let key = cells[0].trim_end_matches('`').to_owned();
        let default = cells[2].trim();
        let default = if default.starts_with('`') { default } else { "" };
        Some((key, default.trim_matches('`').to_owned()))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn every_setting_of_the_hub_is_in_its_document_with_its_default() {
    let rows = rows(&document("hub-configuration.md"));
    let all = "apiVersion: hub.edgekeep/v1alpha1\nkind: HubConfiguration\nnodeName: n\nclusterCAFile: /c\n\
               serving: {certFile: /a, keyFile: /b}\n";
    let printed = Config::parse(all).unwrap().to_yaml();
    for line in printed.lines().skip(2) {
        let key = line.split_once(':').unwrap().0;
        assert!(rows.iter().any(|(name, _)| name == key), "{key} is missing in docs/hub-configuration.md");
    }
    assert_eq!(rows.len(), printed.lines().count() - 2, "{rows:?}");
    let defaults = Config::default().to_yaml().replace('"', "");
    for (key, default) in rows.iter().filter(|(_, default)| !default.is_empty()) {
        let line = format!("{key}: {}", default.replace('"', ""));
        assert!(defaults.lines().any(|printed| printed == line), "{line} in {defaults}");
    }
}

#[test]
fn every_example_of_the_hubs_configuration_is_loaded() {
    let mut loaded = 0;
    for block in document("hub-configuration.md").split("```yaml\n").skip(1) {
        Config::parse(block.split("```").next().unwrap()).unwrap();
        loaded += 1;
    }
    assert!(loaded > 0);
}
