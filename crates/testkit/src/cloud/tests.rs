use std::time::Duration;

use super::contract::{self, Past, Server, Target};
use super::{Cloud, Options, Release, User};

/// The suite that a real kube-apiserver passes too.
async fn keeps_the_contract(release: Release) {
    let cloud =
        Cloud::start(Options { release, patience: Duration::ZERO, ..Options::default() }).await.unwrap();
    cloud.world(|world| world.store.restart());
    let target = Target {
        address: cloud.address(),
        ca: cloud.ca(),
        credential: Some(cloud.credential(&User::admin())),
    };
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
