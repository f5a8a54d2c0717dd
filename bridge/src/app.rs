//! Builds one bridge from its configuration and runs it until it is told to stop.
//!
//! ```text
//!  app::run ─┬─ router task          owns the routing core
//!            ├─ accept_peers         handshakes of peers, their sessions
//!            ├─ dial_peer × n        one for each peer we dial
//!            ├─ HTTP, gRPC, admin    accept loops of the listeners
//!            ├─ driver               carries out what the delivery core asks for; beside it the spool's own thread
//!            ├─ policy watch         file changes, SIGHUP; with signed bundles the bundle task, which also talks to the peers
//!            ├─ credentials          SIGHUP: certificates and deny-list
//!            ├─ sweeper              drops parked frames that waited too long
//!            └─ audit watch          figures and alarms of the decision log; beside it the log's own thread
//! ```
//!
//! Stopping: listeners take no more, subscriptions end, the core says goodbye to the neighbours (they route around us
//! at once), links close. Every task ends by the token or with the process; none holds anything that must be saved.

mod early;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use meshbridge_delivery::Core;
use meshbridge_policy::personal_class;
use meshbridge_routing::{BridgeId, Members, Router, RouterConfig, Run, ZoneName};
use rand::RngExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::admin::{self, AdminState, HostGuard};
use crate::audit::{self, AuditLog, AuditWatch, Redact};
use crate::bundles::{self, BundleHandle, BundleTask, BundlesView, Keeper};
use crate::config::Node;
use crate::data_directory::DataDirectory;
use crate::data_keys;
use crate::drift::DriftSampler;
use crate::identity::{BridgeIdentity, CertificateKeyring, CredentialFiles, Credentials};
use crate::journal::{self, DamageList, Journal};
use crate::learners::{PolicyLearners, follow_policies};
use crate::link::{ConfiguredLink, Direction, Links, PeerEndpoint, SessionContext, WriterThreads};
use crate::listeners;
use crate::metrics::Metrics;
use crate::observers::Observers;
use crate::pipeline::{Pipeline, PipelineParts, Quarantine, Webhooks};
use crate::policy_store::{FileWatch, PolicyStore};
use crate::router_task::{self, Command, RouterTask};
use crate::sealing::Sealing;
use crate::webhook::{AddressRules, SigningKeys, SystemNetwork, WebhookClient, WebhookSettings};
use early::{LinksAndAdmin, find_bundles};

/// How often parked frames are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// Time the neighbours get to hear that we leave.
const GOODBYE: Duration = Duration::from_millis(200);
/// Clients wait so long at most for what the spool held to be with its subscriptions.
const RESUME_WITHIN: Duration = Duration::from_secs(20);
/// Time tasks get to end after the token.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Runs the bridge until `stop` is cancelled. Errors are those of starting; a running bridge logs instead.
pub(crate) async fn run(mut node: Node, accept_missing: bool, stop: CancellationToken) -> anyhow::Result<()> {
    // From the first moment: by default this signal ends a process.
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be received")?;
    let bridge = node.bridge.clone();
    let zone = node.zone.clone();
    let metrics = Arc::new(Metrics::new());

    let identity = BridgeIdentity {
        federation: node.federation.name().to_owned(),
        zone: zone.clone(),
        bridge: bridge.clone(),
    };
    let files = CredentialFiles {
        certificate: node.tls.certificate.clone(),
        key: node.tls.key.clone(),
        ca: node.tls.ca.clone(),
        deny_list: node.tls.deny_list.clone(),
    };
    let credentials = Credentials::load(&files, &identity).context("cannot use the bridge's certificate")?;
    let credentials = Arc::new(ArcSwap::from_pointee(credentials));
    show_certificate(&metrics, &credentials.load());

    let owner = format!("bridge `{bridge}` of federation `{}`", node.federation.name());
    let data = DataDirectory::open(&node.data_dir, &owner)?;
    // What is signed counts more than the document of the configuration.
    let mut keeper = find_bundles(&mut node, &metrics)?;
    let federation = Arc::new(node.federation.clone());
    let policies = match &keeper {
        Some(_) => PolicyStore::closed(Arc::clone(&federation), Arc::clone(&metrics)),
        None => {
            PolicyStore::open(Arc::clone(&federation), node.policy_directories.clone(), Arc::clone(&metrics))
        }
    };
    let policies = Arc::new(policies.context("cannot load the policies")?);
    if let Some(first) = keeper.as_mut().and_then(Keeper::take_first) {
        policies.install(first);
    }
    let own_zone_index = policies
        .active()
        .program
        .zone(zone.as_str())
        .ok_or_else(|| anyhow!("the federation document lists no zone `{zone}`"))?;

    let keys = Arc::new(data_keys::load(&node.data_keys, &federation, own_zone_index)?);

    let redact = Redact::new(|text| personal_class(text).map(|class| class.name().to_owned()));
    let audit = AuditLog::open(&node.data_dir.join(audit::DIRECTORY), node.audit, redact);
    let audit = Arc::new(audit.context("cannot keep the log of decisions")?);
    let reset_seed = data.secret("reset-key").context("cannot use the data directory")?;
    let quarantine = Quarantine::open(&node.data_dir, node.quarantine.clone())
        .context("cannot read what people said of quarantined events")?;
    let opened = journal::open(&node.data_dir.join("spool"), node.spool, &bridge, accept_missing)?;
    let damage = DamageList::of(&node.data_dir);
    let damaged = journal::report(&opened.recovered, &opened.lost, &damage);
    let run = opened.recovered.run;
    let this_run = Run { epoch: run.epoch, nonce: run.nonce };
    let spool_id = u128::from_le_bytes(opened.recovered.spool.0);
    let mut state = opened.state;
    if damaged {
        state.follow_what_is_left();
    }
    let recalled: Vec<_> = state.interest.values().cloned().collect();
    let core = Core::recover(
        state,
        meshbridge_delivery::Config::default(),
        spool_id,
        this_run,
        rand::rng().random(),
        tokio::time::Instant::now().into_std(),
    );
    let journal = Journal::start(opened.log, node.spool.segments_max, damage);
    let links = Arc::new(Links::new(configured_links(&node)?, Arc::clone(&metrics)));
    let (router_handle, commands) = router_task::channel();
    let keyring = Arc::new(CertificateKeyring::new(Arc::clone(&credentials)));
    let sealing = Sealing::new(
        &bridge,
        this_run.epoch,
        &members(&node)?,
        Arc::clone(&keyring),
        tokio::time::Instant::now().into_std(),
    );
    let mut router = Router::new(
        RouterConfig {
            federation: federation.name().to_owned(),
            id: bridge.clone(),
            zone: zone.clone(),
            run: this_run,
            members: members(&node)?,
            limits: node.interest,
            seed: rand::rng().random(),
            policy_digest: policies.active().mark.digest,
        },
        keyring,
        tokio::time::Instant::now().into_std(),
    );
    let learners = PolicyLearners::new(policies.active().clone(), own_zone_index);
    router.set_learners(Arc::new(learners), tokio::time::Instant::now().into_std());
    for messages in recalled {
        let messages = messages.into_iter().map(|message| bytes::Bytes::from(Vec::from(message))).collect();
        if let Err(problem) = router.recall_interest(messages, tokio::time::Instant::now().into_std()) {
            error!(%problem, "The remembered interest of a bridge cannot be read");
        }
    }
    let forwarding = Arc::new(ArcSwap::new(router.forwarding()));
    let observers = Arc::new(Observers::default());
    let drift = DriftSampler::start(own_zone_index, Arc::clone(&audit), Arc::clone(&metrics));
    let drift = Arc::new(drift.context("cannot start a thread")?);
    let pipeline = Pipeline::new(
        PipelineParts {
            own: bridge.clone(),
            own_zone: zone.clone(),
            own_zone_index,
            best_effort_run: Run { epoch: this_run.epoch, nonce: rand::rng().random() },
            bridges: members(&node)?.into_keys().collect(),
            quotas: node.quotas,
            policies: Arc::clone(&policies),
            keys: Arc::clone(&keys),
            forwarding: Arc::clone(&forwarding),
            links: Arc::clone(&links),
            router: router_handle.clone(),
            sealing,
            audit: Arc::clone(&audit),
            quarantine,
            observers: Arc::clone(&observers),
            drift: Arc::clone(&drift),
            metrics: Arc::clone(&metrics),
        },
        core,
        journal,
    );

    let endpoint = PeerEndpoint::bind(node.peering, &credentials.load(), &reset_seed)?;
    let (bundles, bundle_inputs) = match keeper {
        Some(_) => bundles::channel(),
        None => (BundleHandle::none(), bundles::channel().1),
    };
    let context = SessionContext {
        own: bridge.clone(),
        federation: Arc::clone(&federation),
        credentials: Arc::clone(&credentials),
        endpoint: endpoint.clone(),
        links: Arc::clone(&links),
        router: router_handle.clone(),
        pipeline: pipeline.clone(),
        writers: Arc::new(WriterThreads::start().context("start the threads of busy links")?),
        bundles,
    };
    let bundles_view = keeper.is_some().then(|| Arc::new(ArcSwap::<BundlesView>::default()));
    let admin_state = Arc::new(AdminState {
        bridge: bridge.to_string(),
        zone: zone.to_string(),
        links: Arc::clone(&links),
        pipeline: pipeline.clone(),
        policies: Arc::clone(&policies),
        bundles: bundles_view.clone(),
        router: router_handle.clone(),
        metrics: Arc::clone(&metrics),
        observers,
        drift,
        keys: Arc::clone(&keys),
        zone_index: own_zone_index,
        listeners_up: AtomicBool::new(false),
        draining: AtomicBool::new(false),
    });

    // Everything that can fail to start has an address; all are bound before the first one serves.
    let (admin_settings, guard) = node.admin_listener()?;
    let admin = listeners::bind(admin_settings).await.context("cannot start the admin port")?;
    let mut clients = Vec::new();
    for settings in node.client_listeners()? {
        clients.push(listeners::bind(settings).await.context("cannot start a listener")?);
    }
    let listener_certificates =
        clients.iter().chain([&admin]).filter_map(listeners::BoundListener::certificates).collect();
    let resolver = Arc::new(
        TokioResolver::builder_tokio()
            .and_then(|builder| builder.build())
            .context("cannot read the resolver configuration of this machine")?,
    );

    let own_addresses =
        clients.iter().chain([&admin]).filter_map(listeners::BoundListener::address).collect();
    let webhooks = webhooks(&node, own_addresses, Arc::clone(&resolver)).context("cannot send webhooks")?;

    // Ended by `stop`: whatever brings new work. Ended by `late`: what the farewell still needs.
    let late = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let raised = pipeline.clone();
    let store_epoch = Box::new(move |epoch| raised.raise_epoch(epoch));
    let router_task = RouterTask {
        router,
        commands,
        forwarding,
        links: Arc::clone(&links),
        pipeline: pipeline.clone(),
        metrics: Arc::clone(&metrics),
        store_epoch,
        untold: Default::default(),
    };
    tasks.spawn(until(late.clone(), router_task.run()));
    let (kick, kicked) = mpsc::channel(1);
    let (reloaded, reloads) = mpsc::channel(1);
    let following = follow_policies(Arc::clone(&policies), own_zone_index, router_handle.clone(), reloads);
    tasks.spawn(until(late.clone(), following));
    let links_and_admin = LinksAndAdmin {
        context: context.clone(),
        peers: node.peers.clone(),
        resolver,
        admin,
        router: admin::router(
            Arc::clone(&admin_state),
            if guard { HostGuard::MutualTls } else { HostGuard::Loopback },
        ),
    };
    // With plain directories the driver goes first. With bundles there may be no policies before a neighbour has shown
    // some, and without policies nothing is judged, sent or taken.
    let waiting = match (keeper, &node.bundles, bundles_view) {
        (Some(keeper), Some(settings), Some(view)) => {
            links_and_admin.spawn(&mut tasks, &late);
            let mut watched = vec![settings.directory.clone()];
            watched.extend(node.policy_directories.iter().cloned());
            let task = BundleTask {
                keeper,
                inputs: bundle_inputs,
                neighbours: links.peers(),
                policies: Arc::clone(&policies),
                links: Arc::clone(&links),
                router: router_handle.clone(),
                audit: Arc::clone(&audit),
                view,
                reloaded,
            };
            tasks.spawn(until(late.clone(), task.run(kicked, FileWatch::on(&watched))));
            None
        }
        _ => {
            let announce = router_handle.clone();
            let watch = Arc::clone(&policies).watch(kicked, move |generation| {
                announce.send_later(Command::PolicyDigest(generation.mark.digest));
                // Full: the one that is told of already looks at the policies after this.
                let _ = reloaded.try_send(());
            });
            tasks.spawn(until(late.clone(), watch));
            Some(links_and_admin)
        }
    };
    let reload = Reload {
        files,
        identity,
        credentials,
        context: context.clone(),
        metrics: Arc::clone(&metrics),
        listeners: listener_certificates,
    };
    tasks.spawn(until(late.clone(), reload_on_hangup(hangup, reload, kick)));
    tokio::select! {
        () = policies.opened() => {}
        () = stop.cancelled() => {}
    }
    let failed = Arc::new(AtomicBool::new(false));
    let has_policies = policies.active().is_open();
    // Told to stop while there were none: then nothing was begun that had to be ended.
    if has_policies {
        // Before the driver: what it offers must find its subscription.
        pipeline.resume_named().await;
        let driver = tokio::spawn(pipeline.clone().drive(late.clone()));
        // A driver that fails before that is noticed below.
        let _ = tokio::time::timeout(RESUME_WITHIN, pipeline.resumed()).await;
        let (driver_failed, ends) = (Arc::clone(&failed), stop.clone());
        tasks.spawn(async move {
            // Without it events would be taken and never sent: better to end, and start again from the spool.
            if driver.await.is_err() {
                error!("The delivery driver has failed; the bridge ends");
                driver_failed.store(true, Ordering::Relaxed);
                ends.cancel();
            }
        });
        pipeline.start_webhooks(webhooks);
        if let Some(links_and_admin) = waiting {
            links_and_admin.spawn(&mut tasks, &late);
        }
        for listener in clients {
            tasks.spawn(listener.serve(pipeline.clone(), stop.clone()));
        }
    }
    tasks.spawn(until(late.clone(), sweep(pipeline.clone())));
    let watch = AuditWatch::new(Arc::clone(&audit), Arc::clone(&metrics));
    tasks.spawn(until(late.clone(), watch.run()));

    admin_state.listeners_up.store(has_policies, Ordering::Relaxed);
    info!(%bridge, %zone, peers = %endpoint.local_addr()?, epoch = this_run.epoch, "Bridge is ready");

    stop.cancelled().await;
    info!("Bridge is stopping");
    admin_state.draining.store(true, Ordering::Relaxed);
    pipeline.drain();
    if has_policies {
        let (done, said) = oneshot::channel();
        router_handle.send(Command::Shutdown { lasting: pipeline.lasting_interest(), done }).await;
        let _ = tokio::time::timeout(GOODBYE, said).await;
        // The messages are queued; the connections need a moment to carry them before they are closed.
        tokio::time::sleep(GOODBYE).await;
    }
    late.cancel();
    endpoint.close("the bridge is stopping").await;
    tokio::task::block_in_place(|| pipeline.stop_journal());
    drop((context, router_handle, pipeline, admin_state));
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        info!("Tasks that did not end by themselves are ended");
    }
    tokio::task::block_in_place(|| audit.close());
    if failed.load(Ordering::Relaxed) {
        return Err(anyhow!("the delivery driver has failed"));
    }
    Ok(())
}

fn webhooks(
    node: &Node,
    own: Vec<std::net::SocketAddr>,
    resolver: Arc<TokioResolver>,
) -> anyhow::Result<Webhooks> {
    let config = &node.webhooks;
    let named = || format!("{}.{}.{}", node.bridge, node.zone, node.federation.name());
    let settings = WebhookSettings {
        origin: config.origin.clone().unwrap_or_else(named),
        addresses: AddressRules::new(&config.allow, own)?,
        http_hosts: config.http_hosts.iter().cloned().collect(),
        roots: None,
        limits: Default::default(),
    };
    let client = WebhookClient::new(settings, Arc::new(SystemNetwork::new(resolver)))?;
    let keys = config.signing_keys.as_deref().map(SigningKeys::load).transpose()?;
    Ok(Webhooks { client, keys: keys.map(Arc::new) })
}

fn members(node: &Node) -> anyhow::Result<Members> {
    let mut members = Members::new();
    for listed in node.federation.bridges() {
        members.insert(BridgeId::parse(listed.id.as_str())?, ZoneName::parse(listed.zone.as_str())?);
    }
    Ok(members)
}

/// The links of this bridge: those of the document, whichever side dials, with the address where we do.
fn configured_links(node: &Node) -> anyhow::Result<Vec<ConfiguredLink>> {
    let mut links = Vec::new();
    for link in node.federation.links() {
        let (peer, direction) = if link.from.as_str() == node.bridge.as_str() {
            (link.to.as_str(), Direction::Dialled)
        } else if link.to.as_str() == node.bridge.as_str() {
            (link.from.as_str(), Direction::Accepted)
        } else {
            continue;
        };
        let zone = node.federation.bridge(peer).map(|listed| listed.zone.to_string());
        let zone = zone.ok_or_else(|| anyhow!("the federation document lists no bridge `{peer}`"))?;
        let dialled = node.peers.iter().find(|configured| configured.bridge.as_str() == peer);
        links.push(ConfiguredLink {
            peer: BridgeId::parse(peer)?,
            zone: ZoneName::parse(&zone)?,
            cost: link.cost,
            direction,
            address: dialled.map(|configured| configured.address.to_string()),
            transport: dialled.map(|configured| configured.transport),
        });
    }
    Ok(links)
}

/// Tasks that hold nothing end where they stand.
async fn until(end: CancellationToken, work: impl Future) {
    tokio::select! {
        () = end.cancelled() => {}
        _ = work => {}
    }
}

async fn sweep(pipeline: Pipeline) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        pipeline.drop_overdue();
    }
}

fn show_certificate(metrics: &Metrics, credentials: &Credentials) {
    metrics.certificate_not_after.set(i64::try_from(credentials.not_after_unix).unwrap_or(i64::MAX));
}

struct Reload {
    files: CredentialFiles,
    identity: BridgeIdentity,
    credentials: Arc<ArcSwap<Credentials>>,
    context: SessionContext,
    metrics: Arc<Metrics>,
    listeners: Vec<Arc<listeners::ListenerCertificates>>,
}

/// SIGHUP: policies, certificates, roots and deny-list are read again. Each keeps its running state when the new one
/// has an error.
async fn reload_on_hangup(mut hangup: Signal, reload: Reload, kick: mpsc::Sender<()>) {
    while hangup.recv().await.is_some() {
        info!("Reloading policies and certificates");
        let _ = kick.try_send(());
        for certificates in &reload.listeners {
            certificates.reload();
        }
        match Credentials::load(&reload.files, &reload.identity) {
            Ok(fresh) => {
                if let Err(problem) = reload.context.endpoint.renew(&fresh) {
                    error!(%problem, "New certificate refused, the running one stays in use");
                    continue;
                }
                show_certificate(&reload.metrics, &fresh);
                reload.context.links.recheck(&fresh);
                reload.credentials.store(Arc::new(fresh));
                reload.context.router.send(Command::Resign).await;
            }
            Err(problem) => error!(%problem, "New certificate refused, the running one stays in use"),
        }
    }
}
