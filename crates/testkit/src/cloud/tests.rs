mod access;
mod faults;
mod forms;
mod history;

use std::time::Duration;

use serde_json::{Value, json};

use super::contract::client::Client;
use super::contract::{self, Past, Server, Target};
use super::{Cloud, Credential, Options, Release, User};

async fn start(release: Release) -> Cloud {
    let options = Options { release, patience: Duration::ZERO, ..Options::default() };
    Cloud::start(options).await.unwrap()
}

fn target(cloud: &Cloud, credential: Option<Credential>) -> Target {
    Target { address: cloud.address(), ca: cloud.ca(), credential }
}

async fn client_as(cloud: &Cloud, user: &User) -> Client {
    Client::connect(&target(cloud, Some(cloud.credential(user)))).await.unwrap()
}

async fn admin(cloud: &Cloud) -> Client {
    client_as(cloud, &User::admin()).await
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"n": value}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The suite that a real kube-apiserver passes too.
async fn keeps_the_contract(release: Release) {
    let cloud = start(release).await;
    cloud.world(|world| world.store.restart());
    let target = target(&cloud, Some(cloud.credential(&User::admin())));
    let server = Server { target, past: Past::Miniature(&cloud), forgotten: Some(101) };
    let judgements = contract::run(&server, "").await.unwrap();
    let failed: Vec<_> = judgements.iter().filter(|judgement| judgement.fault.is_some()).collect();
    assert!(judgements.len() > 70, "{}", judgements.len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn the_cloud_keeps_the_contract_as_1_20() {
    keeps_the_contract(Release::V1_20).await;
}

#[tokio::test]
async fn the_cloud_keeps_the_contract_as_1_36() {
    keeps_the_contract(Release::V1_36).await;
}
