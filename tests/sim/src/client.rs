//! Clients: each does one thing after the other, on whatever node answers, and notes what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_scheduler::intent::{self, ApplyRequest};
use jaco_state::{Commit, ProposeError, RequestId, Retry, Store, Transaction, UpdateError, View, update};
use jaco_testkit::{deployment_name, deployment_spec, service};
use jaco_types::{
    Claim, ClaimKind, DeploymentSpec, Domain, Placement, Protocol, PublishedPort, RouteSpec, RouteTls, ServiceSpec,
    Stored, UserError,
};

use crate::linearizable::{Action, Operation, Value};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::world::World;

/// Registers that clients work on.
const REGISTERS: u64 = 3;
/// How often a request without an outcome is sent again.
const ATTEMPTS: u64 = 4;
/// Names, and ports and paths, that clients' deployments compete for.
const DEPLOYMENTS: u64 = 3;

/// One client.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) world: Arc<World>,
    pub(crate) random: Random,
}

/// What became of a request over all its attempts.
enum Told {
    Committed,
    Refused,
    /// It was certainly not written.
    NotWritten,
    Unknown,
}

fn register(number: u64, value: u64) -> Claim {
    Claim {
        kind: ClaimKind::VolumeName,
        key: format!("register-{number}"),
        owner: deployment_name("sim"),
        detail: value.to_string(),
    }
}

fn held(view: &View, number: u64) -> Value {
    view.get::<Claim>(&register(number, 0).key()).and_then(|claim| claim.detail.parse().ok())
}

impl Client {
    /// Works until it is dropped.
    pub(crate) async fn run(self) {
        let mut count = 0;
        loop {
            tokio::time::sleep(self.random.millis(5, 250)).await;
            count += 1;
            // No other operation writes this value.
            let value = self.number << 32 | count;
            match self.random.below(100) {
                0..35 => self.read().await,
                35..65 => self.write(value).await,
                65..92 => self.swap(value).await,
                92..98 => self.apply().await,
                _ => self.delete().await,
            }
        }
    }

    fn note(&self, number: u64, operation: &Operation) {
        self.world.trace.note(format_args!("client {} on {number}: {operation:?}", self.number));
    }

    async fn read(&self) {
        let number = self.random.below(REGISTERS);
        let Some(store) = self.world.any_store(&self.random) else { return };
        let called = self.world.moment();
        let read = match self.world.is_broken(Sabotage::StaleReads) {
            true => Ok(store.view()),
            false => store.linearizable_view().await,
        };
        if let Ok(view) = read {
            let action = Action::Read(held(&view, number));
            let operation = Operation { action, called, returned: Some(self.world.moment()) };
            self.note(number, &operation);
            self.world.begin(number, operation);
        }
    }

    async fn write(&self, value: u64) {
        let number = self.random.below(REGISTERS);
        let mut transaction = Transaction::new("local");
        transaction.put(register(number, value));
        self.change(number, Action::Write(value), None, transaction).await;
    }

    async fn swap(&self, value: u64) {
        let number = self.random.below(REGISTERS);
        let Some(store) = self.world.any_store(&self.random) else { return };
        // Possibly a stale one: the check has to notice.
        let view = store.view();
        let expected = held(&view, number);
        let key = register(number, 0).key();
        let mut transaction = Transaction::new("local");
        transaction.check_unchanged::<Claim>(key.clone(), view.version::<Claim>(&key)).put(register(number, value));
        let refused = Some(Action::NotSwapped(expected));
        self.change(number, Action::Swapped(expected, value), refused, transaction).await;
    }

    /// Sends a change of a register; `refused` is what a refusal would say.
    async fn change(&self, number: u64, action: Action, refused: Option<Action>, transaction: Transaction) {
        let begun = Operation { action, called: self.world.moment(), returned: None };
        let place = self.world.begin(number, begun);
        let told = self.request(transaction).await;
        let returned = Some(self.world.moment());
        let operation = match told {
            Told::Committed => Some(Operation { returned, ..begun }),
            Told::Unknown => Some(begun),
            Told::NotWritten => None,
            Told::Refused => {
                if refused.is_none() {
                    self.world.fail("a transaction without checks was refused by one");
                }
                refused.map(|action| Operation { action, returned, ..begun })
            }
        };
        if let Some(operation) = &operation {
            self.note(number, operation);
        }
        self.world.settle(number, place, operation);
    }

    /// Sends a transaction under one request id until its outcome is known, to another node each time.
    async fn request(&self, mut transaction: Transaction) -> Told {
        let mut token = self.random.token();
        let Some(store) = self.world.any_store(&self.random) else { return Told::NotWritten };
        let base_index = store.view().index();
        transaction.request_id(RequestId { base_index, token });
        transaction.reply(token.to_vec());
        let mut told = Told::NotWritten;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(self.random.millis(1, 400)).await;
                if self.world.is_broken(Sabotage::NewRequestIds) {
                    token = self.random.token();
                    transaction.request_id(RequestId { base_index, token }).reply(token.to_vec());
                }
            }
            let Some(store) = self.world.any_store(&self.random) else { continue };
            let proposed = store.propose(transaction.clone());
            // Some clients do not wait.
            let patience = if self.random.percent(10) { self.random.millis(0, 40) } else { Duration::from_secs(60) };
            let proposed = tokio::time::timeout(patience, proposed).await;
            match proposed.unwrap_or(Err(ProposeError::OutcomeUnknown)) {
                Ok(commit) => {
                    self.acknowledged(token, &commit);
                    return Told::Committed;
                }
                Err(ProposeError::Refused { .. }) => return Told::Refused,
                Err(ProposeError::OutcomeUnknown | ProposeError::Stopped) => told = Told::Unknown,
                // This attempt wrote nothing; one before may have.
                Err(
                    ProposeError::NoLeader
                    | ProposeError::QuorumLost
                    | ProposeError::DiskFull
                    | ProposeError::NodeRemoved
                    | ProposeError::RequestTooOld,
                ) => {}
                Err(
                    error @ (ProposeError::NotPermitted { .. }
                    | ProposeError::TooLarge { .. }
                    | ProposeError::Unencodable { .. }),
                ) => {
                    self.world.fail(format!("a client was told: {error}"));
                }
            }
        }
        told
    }

    fn acknowledged(&self, token: [u8; 16], commit: &Commit) {
        if commit.reply.as_ref() != token {
            self.world.fail(format!("a request got the answer of another one, index {}", commit.index));
        }
        self.world.acknowledge(token, commit.index);
    }

    fn name(&self) -> String {
        format!("d{}", self.random.below(DEPLOYMENTS))
    }

    async fn apply(&self) {
        let spec = Arc::new(self.spec(&self.name()));
        let request = ApplyRequest {
            spec: spec.clone(),
            jaco_yaml: String::new(),
            compose_yaml: String::new(),
            identity: "local".to_owned(),
            now_ms: 1,
        };
        let plan = |view: &View| intent::apply(view, &request).map(|applied| applied.transaction);
        self.update(&format!("applies {}", spec.name), plan).await;
    }

    async fn delete(&self) {
        let name = deployment_name(&self.name());
        let plan = |view: &View| intent::delete(view, &name, "local").map(|deleted| deleted.transaction);
        self.update(&format!("deletes {name}"), plan).await;
    }

    async fn update(&self, what: &str, plan: impl Fn(&View) -> Result<Transaction, UserError>) {
        let Some(store) = self.world.any_store(&self.random) else { return };
        let (token, base_index) = (self.random.token(), store.view().index());
        let plan = |view: &View| {
            let mut transaction = plan(view)?;
            transaction.request_id(RequestId { base_index, token }).reply(token.to_vec());
            Ok::<_, UserError>(Some(transaction))
        };
        let done = update(&store, Retry::seeded(self.random.next()), plan).await;
        let told = match &done {
            Ok(commit) => format!("index {:?}", commit.as_ref().map(|commit| commit.index)),
            Err(UpdateError::Plan(refused)) => refused.code.to_string(),
            Err(UpdateError::Propose(error)) => error.to_string(),
        };
        self.world.trace.note(format_args!("client {} {what}: {told}", self.number));
        if let Ok(Some(commit)) = done {
            self.acknowledged(token, &commit);
        }
    }

    fn spec(&self, name: &str) -> DeploymentSpec {
        let random = &self.random;
        let web = ServiceSpec {
            ports: vec![PublishedPort {
                protocol: Protocol::Tcp,
                host_port: 8000 + u16::try_from(random.below(DEPLOYMENTS)).unwrap_or(0),
                target: 80,
            }],
            placement: if random.percent(30) { Placement::Global } else { Placement::Spread },
            ..service("img", 1 + u32::try_from(random.below(3)).unwrap_or(0))
        };
        // Sometimes another spec, so that it is replaced.
        let image = if random.percent(70) { "solo:1" } else { "solo:2" };
        let solo = ServiceSpec { exclusive: true, ..service(image, 1) };
        let mut spec = deployment_spec(name, [("web", web), ("solo", solo)]);
        if let Ok(domain) = Domain::new("sim.test") {
            spec.routes.push(RouteSpec {
                domain,
                path: format!("/{}", random.below(DEPLOYMENTS)),
                service: jaco_testkit::service_name("web"),
                port: 80,
                tls: RouteTls::Off,
                strip_path: false,
            });
        }
        spec.volumes = BTreeMap::new();
        spec
    }
}
