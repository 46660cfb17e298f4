//! The one deployment most tests share: three nodes, an upstream of each era, everything allowed but what deletes.

use std::sync::OnceLock;
use std::sync::mpsc::channel;

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::stack::{Endpoints, Stack};
use sluice_tests::upstream::{Eras, Upstream};

/// What the tests share.
pub(crate) struct House {
    pub(crate) endpoints: Endpoints,
    pub(crate) folder: std::path::PathBuf,
    pub(crate) api: Api,
    pub(crate) modern: Upstream,
    pub(crate) legacy: Upstream,
}

/// The canary that stands wherever a credential can: it may be seen by the upstream it is for and by nobody else.
pub(crate) const CANARY: &str = "canary-7f3e9d21-credential";

/// The shared deployment, started by whichever test comes first. It ends with the thread that started it, which ends
/// with the process.
pub(crate) fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let stack = Stack::start_bound(3, &[]);
            let house = runtime.block_on(furnish(&stack));
            send.send(house).unwrap();
            loop {
                std::thread::park();
            }
        });
        receive.recv().unwrap()
    })
}

async fn furnish(stack: &Stack) -> House {
    let api = Api::of(&stack.endpoints);
    let (modern, legacy) = (Upstream::start(Eras::Modern).await, Upstream::start(Eras::Legacy).await);
    api.add_server("modern", &modern.url()).await;
    let server = api.add_server("legacy", &legacy.url()).await;
    api.set_bearer(&server, CANARY).await;
    api.allow_all_but("delete_all").await;
    api.is_live().await;
    House { endpoints: stack.endpoints.clone(), folder: stack.folder().to_owned(), api, modern, legacy }
}

impl House {
    /// A client of the whole deployment.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.endpoints.tenant_url, &self.endpoints.token)
    }

    /// Clients of each node by itself.
    pub(crate) fn clients(&self) -> Vec<Client> {
        let urls = self.endpoints.data_plane_urls.iter();
        urls.map(|url| Client::new(&format!("{url}/{}/mcp", self.endpoints.tenant), &self.endpoints.token)).collect()
    }
}

/// Asks again until the answer is as wanted.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    sluice_tests::patience::until(what, async || ask().await.then_some(())).await;
}

/// Waits until a node lets a client with a new token in: it hears of the token a moment after it was issued.
pub(crate) async fn is_known(client: &Client) {
    until("the token is known", || async { client.modern("tools/list", json!({})).await.status == 200 }).await;
}
