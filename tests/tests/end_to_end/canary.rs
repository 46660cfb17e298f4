//! Secrets put where secrets go are found nowhere else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use reqwest::Method;
use serde_json::json;
use sluice_tests::behind::{Postgres, Redis};
use sluice_tests::client::{Answer, send};

use crate::house::{CANARY, house};

#[tokio::test]
async fn the_upstream_gets_its_credential_and_never_the_clients_token() {
    let house = house();
    let answer = house.client().call("legacy__headers", json!({})).await;
    assert!(answer.text.contains("authorization"), "the fixture says which headers it got: {}", answer.text);
    let seen = house.legacy.has_seen("headers").await;
    assert_eq!(seen.headers["authorization"], format!("Bearer {CANARY}"));
    for upstream in [&house.modern, &house.legacy] {
        for seen in upstream.seen() {
            let all = format!("{:?} {}", seen.headers, seen.message);
            assert!(!all.contains(&house.endpoints.token), "the client's token reached an upstream");
        }
    }
}

/// What a person sees at start, which is where the token is shown.
const SHOWN_AT_START: &str = "up.log";

#[tokio::test]
async fn no_secret_is_in_an_answer_a_log_a_record_redis_postgres_or_a_metric() {
    let house = house();
    let client = house.client();
    let mut places = Vec::new();
    for tool in ["legacy__echo", "legacy__status_500", "legacy__status_401", "legacy__garbage", "modern__delete_all"] {
        places.push(("an answer", said(&client.call(tool, json!({"message": "x"})).await)));
    }
    let wrong = house.endpoints.token.replace("slc_", "slc_X");
    let wrong_api = house.endpoints.api_token.replace("sla_", "sla_X");
    let refused = client.with_token(Some(&wrong)).modern("tools/list", json!({})).await;
    assert_eq!(refused.status, 401);
    places.push(("a refusal", said(&refused)));
    let broken = client.request(Method::POST).header("mcp-protocol-version", &wrong).body(format!("{{\"{wrong}\""));
    places.push(("a refusal", said(&send(broken).await.unwrap())));
    for path in ["/api/v1/tenants/demo", "/api/v1/tenants/demo/members/x", "/nowhere"] {
        places.push(("a problem", said(&house.api.send_as(&wrong_api, "GET", path, None).await)));
    }
    places.push(("records", house.api.everything().await.into_bytes()));
    places.push(("the API", house.api.crawl("legacy").await.into_bytes()));
    for url in &house.endpoints.metrics_urls {
        let answer = send(client.at(url).with_token(None).request(Method::GET)).await.unwrap();
        places.push(("metrics", said(&answer)));
    }
    places.push(("Redis", Redis::of(&house.endpoints).await.dump().await));
    places.push(("Postgres", Postgres::of(&house.endpoints, &house.folder).dump().await.into_bytes()));
    places.extend(logs_and_spools(&house.folder));
    let secrets = [
        ("credential", CANARY),
        ("token", &house.endpoints.token),
        ("API token", &house.endpoints.api_token),
        ("owner's password", &house.endpoints.owner_password),
        ("wrong token", &wrong),
        ("wrong API token", &wrong_api),
    ];
    for (what, secret) in secrets {
        for form in forms(secret) {
            let finder = Finder::new(&form);
            for (place, bytes) in &places {
                assert!(finder.find(bytes).is_none(), "the {what} is in {place}, as {}", form.escape_ascii());
            }
        }
    }
}

fn said(answer: &Answer) -> Vec<u8> {
    format!("{:?} {}", answer.headers, answer.text).into_bytes()
}

/// Every log, and what nodes keep on disk of records under way.
fn logs_and_spools(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let files = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = files(folder).filter(|path| {
        path.extension().is_some_and(|kind| kind == "log")
            && path.file_name().is_some_and(|name| name != SHOWN_AT_START)
    });
    let mut found: Vec<_> = logs.map(|path| ("a log", std::fs::read(path).unwrap())).collect();
    assert!(found.len() >= 6, "only {} logs", found.len());
    let mut folders: Vec<PathBuf> = (1..=3).map(|node| folder.join(format!("data/node-{node}"))).collect();
    while let Some(folder) = folders.pop() {
        let (within, spools): (Vec<_>, Vec<_>) = files(&folder).partition(|path| path.is_dir());
        folders.extend(within);
        // A node may have freed the file meanwhile.
        found.extend(spools.into_iter().filter_map(|path| Some(("a spool", std::fs::read(path).ok()?))));
    }
    assert!(found.iter().any(|(place, bytes)| *place == "a spool" && !bytes.is_empty()), "no spool");
    found
}

/// The ways in which a careless program may write a secret down.
fn forms(secret: &str) -> BTreeSet<Vec<u8>> {
    let hexadecimal = hex::encode(secret);
    let percent = secret.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02x}"));
    let escaped = secret.bytes().fold(String::new(), |all, byte| all + &format!("\\u{byte:04x}"));
    let mut forms =
        vec![secret.to_owned(), hexadecimal.to_uppercase(), hexadecimal, percent.to_uppercase(), percent, escaped];
    for before in 0..3 {
        let placed = [&[0; 2][..before], secret.as_bytes()].concat();
        // Characters that hold bits of what stands before or after differ from place to place.
        let own = (before * 8).div_ceil(6)..placed.len() * 8 / 6;
        forms.push(STANDARD_NO_PAD.encode(&placed)[own.clone()].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&placed)[own].to_owned());
    }
    forms.into_iter().map(String::into_bytes).collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "canary/7?~>\u{ff}~";
    let within = |text: String| forms(secret).iter().any(|form| Finder::new(form).find(text.as_bytes()).is_some());
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{secret}after");
        let percent = text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"));
        for said in [hex::encode(&text), percent, STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text), text.clone()] {
            assert!(within(said), "{text}");
        }
        assert!(!within(STANDARD.encode(before)));
    }
}
