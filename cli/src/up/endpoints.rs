//! What a finished start tells: `.sluice/endpoints.json` for programs, a few lines for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Settings;
use super::demo_tenant::DemoTenant;
use super::services::Addresses;
use super::state::{Started, State};

/// Where everything is. Holds secrets: the file is readable by its owner only.
#[derive(Serialize)]
pub(crate) struct Endpoints {
    tenant: String,
    tenant_url: String,
    token: String,
    api_url: String,
    api_token: String,
    console_url: String,
    owner_email: String,
    owner_password: String,
    control_plane_url: String,
    data_plane_urls: Vec<String>,
    metrics_urls: Vec<String>,
    postgres_url: String,
    redis_url: String,
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten)]
    endpoints: &'a Endpoints,
    pids: BTreeMap<&'a str, u32>,
}

impl Endpoints {
    pub(crate) fn new(settings: &Settings, addresses: &Addresses, demo: &DemoTenant) -> Self {
        let ports = settings.ports;
        let local = |port: u16| format!("http://127.0.0.1:{port}");
        let nodes = 1..=settings.nodes;
        Self {
            tenant: demo.slug.clone(),
            tenant_url: format!("{}/{}/mcp", local(ports.tenants()), demo.slug),
            token: demo.token.clone(),
            api_url: format!("{}/api/v1", local(ports.control_plane())),
            api_token: demo.api_token.clone(),
            console_url: local(ports.control_plane()),
            owner_email: demo.owner_email.clone(),
            owner_password: demo.owner_password.clone(),
            control_plane_url: local(ports.control_plane()),
            data_plane_urls: nodes.clone().map(|number| local(ports.node(number))).collect(),
            metrics_urls: nodes
                .map(|number| ports.node_internal(number))
                .chain([ports.control_plane_internal()])
                .map(|port| format!("{}/metrics", local(port)))
                .collect(),
            postgres_url: addresses.database.clone(),
            redis_url: addresses.redis_control.clone(),
        }
    }

    /// Writes `endpoints.json`, whole or not at all.
    pub(crate) fn write(&self, state: &State, started: &[Started]) -> anyhow::Result<()> {
        let pids = started.iter().map(|process| (process.name.as_str(), process.pid)).collect();
        state.write_private("endpoints.json", &serde_json::to_string_pretty(&File { endpoints: self, pids })?)
    }

    /// Says how to connect.
    pub(crate) fn announce(&self) {
        crate::say(&format!(
            "\nSluice is up. The tenant `{tenant}` has a demo server and a policy.\n\n  console      {console}\n  sign in as   {email}\n  password     {password}\n\n  tenant URL   {url}\n  token        {token}\n  API          {api}   (its token is in endpoints.json)\n\n\
             Connect Claude Code:\n\n  claude mcp add --transport http sluice {url} --header \"Authorization: Bearer {token}\"\n\n\
             All addresses are in endpoints.json, logs beside it. Ctrl-C ends everything; the data stays.",
            tenant = self.tenant,
            url = self.tenant_url,
            token = self.token,
            api = self.api_url,
            console = self.console_url,
            email = self.owner_email,
            password = self.owner_password,
        ));
    }
}
