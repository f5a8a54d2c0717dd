//! Who a client is: the one URI name of its certificate, or the name its bearer token stands for. A listener on loopback
//! that is configured with neither serves everyone as `anonymous`; any other that could know nobody does not start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::ListenerSettings;
use crate::pipeline::Principal;

const TOKENS_MAX: usize = 10_000;
/// The token file is looked at again after this long.
const RECHECK: Duration = Duration::from_secs(2);

/// What the connection itself shows of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// No certificate.
    Nothing,
    /// A certificate that does not say who it is for.
    Nameless,
    Named(Principal),
}

impl Shown {
    pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> Shown {
        match chain.first() {
            None => Shown::Nothing,
            Some(leaf) => principal_of(leaf).map_or(Shown::Nameless, Shown::Named),
        }
    }
}

/// A client that is not let in; the text is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unauthorised {
    #[error("a bearer token or a client certificate is required")]
    NoCredentials,
    #[error("the client certificate must carry exactly one URI name")]
    NamelessCertificate,
    #[error("the bearer token is not known")]
    UnknownToken,
    #[error("the user is not known, or the password is another one")]
    UnknownUser,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    tokens: Vec<TokenEntry>,
    #[serde(default)]
    users: Vec<UserEntry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    user: String,
    password: String,
    principal: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    token: String,
    principal: String,
}

/// Tokens are kept as digests: comparing those tells nothing of a token by its time, and no dump shows one.
#[derive(Debug, Default)]
struct Tokens {
    by_digest: std::collections::HashMap<[u8; 32], Principal>,
    modified: Option<SystemTime>,
}

/// Decides about the clients of one listener.
#[derive(Debug)]
pub(crate) struct Authenticator {
    file: Option<PathBuf>,
    tokens: Mutex<(Tokens, Instant)>,
    /// Nobody has to show anything.
    open: bool,
}

impl Authenticator {
    /// Errors are for the operator.
    pub(super) fn new(settings: &ListenerSettings) -> Result<Authenticator, String> {
        let client_ca = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let knows_someone = client_ca || settings.tokens.is_some();
        // Who configures TLS means to know the clients, on loopback too: a proxy may stand before it.
        let open = !knows_someone && settings.tls.is_none() && settings.address.ip().is_loopback();
        if !knows_someone && !open {
            let reason = "no client could show who it is: give it `tokens`, or `tls` with a `clientCa`; \
                          only on loopback and without `tls` it may have neither";
            return Err(reason.to_owned());
        }
        let tokens = match &settings.tokens {
            Some(path) => read_tokens(path)?,
            None => Tokens::default(),
        };
        Ok(Authenticator {
            file: settings.tokens.clone(),
            tokens: Mutex::new((tokens, Instant::now())),
            open,
        })
    }

    pub(super) fn principal(&self, shown: &Shown, headers: &HeaderMap) -> Result<Principal, Unauthorised> {
        let bearer = headers.get(header::AUTHORIZATION).map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map(|_| text[7..].trim())
        });
        match (bearer, shown) {
            // A wrong token is refused also where none would do: whoever sends one expects to be known by it.
            (Some(token), _) => {
                token.and_then(|token| self.by_token(token)).ok_or(Unauthorised::UnknownToken)
            }
            (None, Shown::Named(principal)) => Ok(principal.clone()),
            (None, Shown::Nameless) => Err(Unauthorised::NamelessCertificate),
            (None, Shown::Nothing) if self.open => Ok(Principal::anonymous()),
            (None, Shown::Nothing) => Err(Unauthorised::NoCredentials),
        }
    }

    /// The same for protocols with a name and a password, or a bare token, in their first message.
    pub(super) fn principal_of_login(
        &self,
        shown: &Shown,
        token: Option<&str>,
        user: Option<(&str, &str)>,
    ) -> Result<Principal, Unauthorised> {
        match (token, user) {
            (Some(token), _) => self.by_token(token).ok_or(Unauthorised::UnknownToken),
            (None, Some((user, password))) => {
                self.by_digest(&of_user(user, password)).ok_or(Unauthorised::UnknownUser)
            }
            (None, None) => self.principal(shown, &HeaderMap::new()),
        }
    }

    /// Nobody has to show anything.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    fn by_token(&self, token: &str) -> Option<Principal> {
        self.by_digest(blake3::hash(token.as_bytes()).as_bytes())
    }

    fn by_digest(&self, digest: &[u8; 32]) -> Option<Principal> {
        let path = self.file.as_ref()?;
        let mut held = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1.elapsed() >= RECHECK {
            held.1 = Instant::now();
            let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
            if modified != held.0.modified {
                match read_tokens(path) {
                    Ok(fresh) => held.0 = fresh,
                    Err(problem) => {
                        tracing::error!(%problem, "Token file refused, the tokens read before stay valid")
                    }
                }
            }
        }
        held.0.by_digest.get(digest).cloned()
    }
}

fn read_tokens(path: &Path) -> Result<Tokens, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|problem| format!("cannot read `{shown}`: {problem}"))?;
    let file: TokenFile = serde_saphyr::from_str(&text)
        .map_err(|_| format!("`{shown}` is not `tokens:` with a list of {{token, principal}}"))?;
    if file.tokens.len() + file.users.len() > TOKENS_MAX {
        return Err(format!("`{shown}` has more than {TOKENS_MAX} tokens and users"));
    }
    let mut by_digest = std::collections::HashMap::new();
    for entry in file.tokens {
        if entry.token.len() < 16 || entry.principal.is_empty() || entry.principal.len() > 256 {
            return Err(format!("`{shown}`: a token has at least 16 characters, and a principal 1 to 256"));
        }
        let digest = *blake3::hash(entry.token.as_bytes()).as_bytes();
        by_digest.insert(digest, Principal(Arc::from(entry.principal)));
    }
    for UserEntry { user, password, principal } in file.users {
        if password.len() < 16 || user.is_empty() || principal.is_empty() || principal.len() > 256 {
            return Err(format!(
                "`{shown}`: a user has a name, a password of at least 16 characters, and a principal of 1 to 256"
            ));
        }
        by_digest.insert(of_user(&user, &password), Principal(Arc::from(principal)));
    }
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    Ok(Tokens { by_digest, modified })
}

/// Stands for a name with its password; no token has it, for none holds the lengths.
fn of_user(user: &str, password: &str) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key("meshbridge user and password");
    for part in [user, password] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    *hash.finalize().as_bytes()
}

/// The principal of a client certificate: its one URI name. A common name is not looked at (RELIABILITY G1).
fn principal_of(certificate: &CertificateDer<'_>) -> Option<Principal> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let first = uris.next()?;
    uris.next().is_none().then(|| Principal(Arc::from(first)))
}
