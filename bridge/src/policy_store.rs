//! The policies in force: loaded, compiled, swapped in whole. A set with any error in it changes nothing: the running
//! generation stays, the failure is logged, counted and shown at `/v1/policy`.

mod files;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use meshbridge_policy::{Federation, Program, SourceFile};
use meshbridge_routing::wire::PolicyMark;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

pub(crate) use files::FileWatch;

use crate::metrics::Metrics;

/// Files in the policy directories of one bridge.
const FILES_MAX: usize = 1_000;
/// Bytes a policy file may have (POLICY §1).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One compiled set of policies. An event is judged by exactly one of these.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) program: Program,
    pub(crate) number: u64,
    pub(crate) files: usize,
    pub(crate) loaded_at: SystemTime,
    /// What this bridge says of its policies, in link state and in every frame.
    pub(crate) mark: PolicyMark,
    /// Frames of bridges under an older bundle of the federation are not taken; 0 where any will do.
    pub(crate) min_revision: u64,
}

impl Generation {
    /// Somebody has said what is permitted. Before that nothing is judged: what would be refused could come back later.
    pub(crate) fn is_open(&self) -> bool {
        self.number > 0
    }
}

/// Why a set of policies was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadPolicyError {
    /// A directory or file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// More or larger files than a bridge takes.
    #[error("`{}`: {what}", path.display())]
    TooMuch { path: PathBuf, what: String },
    /// The documents have errors; the text has all of them.
    #[error("the policies have errors:\n{0}")]
    Invalid(String),
}

/// Reads every `.yaml` and `.yml` file below the directories, in a stable order.
pub(crate) fn read_sources(directories: &[PathBuf]) -> Result<Vec<SourceFile>, LoadPolicyError> {
    let mut sources = Vec::new();
    for directory in directories {
        read_directory(directory, &mut sources)?;
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn read_directory(directory: &Path, sources: &mut Vec<SourceFile>) -> Result<(), LoadPolicyError> {
    let unreadable = |path: &Path, source| LoadPolicyError::Unreadable { path: path.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(|e| unreadable(directory, e))? {
        let path = entry.map_err(|e| unreadable(directory, e))?.path();
        // A symbolic link counts as what it points to: mounted configuration is made of them.
        let meta = std::fs::metadata(&path).map_err(|e| unreadable(&path, e))?;
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if meta.is_dir() {
            read_directory(&path, sources)?;
            continue;
        }
        // Schemas that policies name are JSON.
        if !path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            continue;
        }
        if meta.len() > FILE_BYTES_MAX {
            let what = format!("{} bytes, at most {FILE_BYTES_MAX} are read", meta.len());
            return Err(LoadPolicyError::TooMuch { path, what });
        }
        if sources.len() == FILES_MAX {
            let what = format!("more than {FILES_MAX} policy files");
            return Err(LoadPolicyError::TooMuch { path, what });
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
        sources.push(SourceFile { name: path.display().to_string(), text });
    }
    Ok(())
}

/// Holder of the generation in force.
#[derive(Debug)]
pub(crate) struct PolicyStore {
    federation: Arc<Federation>,
    directories: Vec<PathBuf>,
    active: ArcSwap<Generation>,
    last_error: Mutex<Option<String>>,
    /// Whether there has been a generation to judge by.
    opened: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl PolicyStore {
    /// Loads the first generation; a bridge without valid policies does not start.
    pub(crate) fn open(
        federation: Arc<Federation>,
        directories: Vec<PathBuf>,
        metrics: Arc<Metrics>,
    ) -> Result<PolicyStore, LoadPolicyError> {
        let first = load(&federation, &directories, 1)?;
        metrics.policy_generation.set(1);
        Ok(PolicyStore {
            federation,
            directories,
            active: ArcSwap::from_pointee(first),
            last_error: Mutex::new(None),
            opened: watch::Sender::new(true),
            metrics,
        })
    }

    /// Without a generation to judge by, until [`PolicyStore::install`] brings one.
    pub(crate) fn closed(
        federation: Arc<Federation>,
        metrics: Arc<Metrics>,
    ) -> Result<PolicyStore, LoadPolicyError> {
        let compiled = meshbridge_policy::compile(&[], &federation, None)
            .map_err(|diagnostics| LoadPolicyError::Invalid(diagnostics.to_string()))?;
        let mark = PolicyMark { digest: [0; 32], federation_revision: 0 };
        let (program, loaded_at) = (compiled.program, SystemTime::now());
        let nothing = Generation { program, number: 0, files: 0, loaded_at, mark, min_revision: 0 };
        Ok(PolicyStore {
            federation,
            directories: Vec::new(),
            active: ArcSwap::from_pointee(nothing),
            last_error: Mutex::new(None),
            opened: watch::Sender::new(false),
            metrics,
        })
    }

    /// Puts policies in force that came in bundles; gives them their number. `false` where they are in force already.
    pub(crate) fn install(&self, mut next: Generation) -> bool {
        let running = self.active.load();
        if running.is_open() && running.mark == next.mark && running.program.digest() == next.program.digest()
        {
            self.metrics.on_reload("unchanged");
            return false;
        }
        next.number = running.number + 1;
        self.metrics.policy_generation.set(i64::try_from(next.number).unwrap_or(i64::MAX));
        self.metrics.on_reload("applied");
        self.active.store(Arc::new(next));
        self.opened.send_replace(true);
        true
    }

    /// What did not come into force, for `/v1/policy`.
    pub(crate) fn note_refused(&self, what: Option<String>) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if what.is_some() && *last != what {
            self.metrics.on_reload("refused");
        }
        *last = what;
    }

    /// Waits for the first generation.
    pub(crate) async fn opened(&self) {
        // The sender is in this store, so it is there.
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }

    pub(crate) fn active(&self) -> arc_swap::Guard<Arc<Generation>> {
        self.active.load()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads again. `true` when another set of policies is in force now.
    pub(crate) fn reload(&self) -> bool {
        let running = self.active.load();
        match load(&self.federation, &self.directories, running.number + 1) {
            Ok(next) => {
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
                if next.program.digest() == running.program.digest() {
                    self.metrics.on_reload("unchanged");
                    return false;
                }
                info!(generation = next.number, files = next.files, "Policies reloaded");
                self.metrics.policy_generation.set(i64::try_from(next.number).unwrap_or(i64::MAX));
                self.metrics.on_reload("applied");
                self.active.store(Arc::new(next));
                true
            }
            Err(problem) => {
                let text = describe(&problem);
                error!(generation = running.number, problem = %text, "Policies refused, the running ones stay in force");
                self.metrics.on_reload("refused");
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                false
            }
        }
    }

    /// Reloads whenever a policy file changes or `kick` says so, until `kick` is closed. Calls `changed` after
    /// each reload that put another set in force.
    pub(crate) async fn watch(self: Arc<Self>, mut kick: mpsc::Receiver<()>, changed: impl Fn(&Generation)) {
        let mut files = FileWatch::on(&self.directories);
        loop {
            tokio::select! {
                kicked = kick.recv() => if kicked.is_none() { return },
                () = files.changed() => {}
            }
            // Who asks by signal has finished writing.
            files.forget();
            let store = Arc::clone(&self);
            let reloaded = tokio::task::spawn_blocking(move || store.reload()).await.unwrap_or(false);
            if reloaded {
                changed(&self.active());
            }
        }
    }
}

fn load(
    federation: &Federation,
    directories: &[PathBuf],
    number: u64,
) -> Result<Generation, LoadPolicyError> {
    let sources = read_sources(directories)?;
    let compiled = meshbridge_policy::compile(&sources, federation, Some(SystemTime::now().into()))
        .map_err(|diagnostics| LoadPolicyError::Invalid(diagnostics.to_string()))?;
    // What must be provable is proved before anything is judged by these policies.
    let unproved = compiled.program.unproved();
    if unproved.has_errors() {
        return Err(LoadPolicyError::Invalid(unproved.to_string()));
    }
    for warning in compiled.warnings.iter().chain(unproved.iter()) {
        info!(place = %format!("{}:{}", warning.span.file, warning.span.line), warning = %warning.message, "Policy warning");
    }
    let (program, loaded_at) = (compiled.program, SystemTime::now());
    // Plain directories are revision 0, and so in no federation that asks for more.
    let mark = PolicyMark { digest: program.digest(), federation_revision: 0 };
    let min_revision = federation.min_revision();
    Ok(Generation { program, number, files: sources.len(), loaded_at, mark, min_revision })
}

fn describe(problem: &LoadPolicyError) -> String {
    match std::error::Error::source(problem) {
        Some(source) => format!("{problem}: {source}"),
        None => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use meshbridge_policy::{DeliveryClass, Retain};
    use meshbridge_topic::Topic;

    use super::*;

    const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: test}\nspec:\n  zones: {z-a: {region: r}}\n  bridges: [{id: a, zone: z-a}]\n  links: []\n";

    fn write(directory: &Path, entries: &str) {
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: Delivery\nmetadata: {{name: d, layer: federation}}\nspec:\n  topics: [{entries}]\n"
        );
        std::fs::write(directory.join("delivery.yaml"), text).expect("written");
    }

    #[test]
    fn delivery_documents_come_into_force_whole_or_not_at_all() {
        let source = SourceFile { name: "federation.yaml".to_owned(), text: FEDERATION.to_owned() };
        let federation = Arc::new(Federation::parse(&source).expect("a valid document"));
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), "{match: a, class: best-effort}");
        let open = |directory: &Path| {
            PolicyStore::open(Arc::clone(&federation), vec![directory.to_owned()], Arc::new(Metrics::new()))
        };
        let store = open(directory.path()).expect("valid policies");
        let topic = Topic::parse("a").expect("a topic");
        let delivery = |generation: &Generation| {
            let zone = generation.program.zone("z-a").expect("the zone");
            generation.program.delivery(zone).for_topic(&topic)
        };
        let first = store.active.load_full();
        assert_eq!(delivery(&first).class, DeliveryClass::BestEffort);

        write(directory.path(), "{match: a, class: durable, retain: delivered}, {match: b, class: drable}");
        assert!(!store.reload());
        assert_eq!(delivery(&store.active()).class, DeliveryClass::BestEffort);
        assert!(store.last_error().is_some_and(|text| text.contains("did you mean `durable`?")));

        write(directory.path(), "{match: a, class: durable, retain: delivered}");
        assert!(store.reload());
        assert_eq!(
            (delivery(&store.active()).class, delivery(&store.active()).retain),
            (DeliveryClass::Durable, Retain::Delivered)
        );
        // Whoever began under the first generation ends under it.
        assert_eq!(delivery(&first).class, DeliveryClass::BestEffort);
        assert!(!store.reload(), "the same documents are the same generation");
    }
}
